"""What the measurements stand on: servers, the load generator, the table."""

import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.path.join(ROOT, "build/release/bin")
PATIENCE_SECONDS = 300
READY = {"kvorum": b"ready to serve client requests", "etcd": b"serving client traffic insecurely"}


def fail(message):
    sys.exit(f"scripts/bench: {message}")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Running:
    """A process that is measured."""

    process = None

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def memory_bytes(self):
        """Anonymous resident memory: without the pages of mapped files, which the system takes back at will."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return int(re.search(r"RssAnon:\s+(\d+) kB", status.read()).group(1)) * 1024

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Server(Running):
    """One member over one data directory; of a cluster of its own unless told otherwise."""

    def __init__(self, kind, program, directory, name="default"):
        self.kind = kind
        self.program = program
        self.directory = directory
        self.name = name
        self.port = free_port()
        self.peer_port = free_port()
        self.start_seconds = 0.0
        self.cluster_flags = [f"--initial-cluster={name}={self.peer_url}"]
        self._begin = 0.0
        self._log_offset = 0

    @property
    def target(self):
        return f"127.0.0.1:{self.port}"

    @property
    def peer_url(self):
        return f"http://127.0.0.1:{self.peer_port}"

    @property
    def _log(self):
        return os.path.join(self.directory, "log")

    def start(self):
        self.launch()
        self.wait_ready()
        # Ready is what the first answered read says, not a line of the log.
        kvorum_bench(self, "run", seconds=0.01, connections=1, streams=1, keys=1)
        self.start_seconds = time.monotonic() - self._begin
        return self

    def launch(self):
        os.makedirs(self.directory, exist_ok=True)
        client = f"http://{self.target}"
        self._log_offset = os.path.getsize(self._log) if os.path.exists(self._log) else 0
        command = [
            self.program, f"--name={self.name}", f"--data-dir={self.directory}/data", f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}", f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}", "--quota-backend-bytes=8589934592", *self.cluster_flags,
        ]
        if self.kind == "etcd":
            command.append("--logger=zap")
        self._begin = time.monotonic()
        with open(self._log, "ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)

    def wait_ready(self):
        while True:
            with open(self._log, "rb") as lines:
                lines.seek(self._log_offset)
                if READY[self.kind] in lines.read():
                    return
            if self.process.poll() is not None or time.monotonic() - self._begin > PATIENCE_SECONDS:
                fail(f"{self.kind} did not start, see {self._log}")
            time.sleep(0.002)


def bench_command(server, mode, options):
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    return [os.path.join(BIN, "kvorum-bench"), mode, f"--target={server.target}", *arguments]


def kvorum_bench(server, mode, **options):
    """Runs the load generator to its end; its figures."""
    command = bench_command(server, mode, options)
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    if done.returncode != 0:
        fail(f"kvorum-bench {mode} {options} against {server.kind}: {done.stderr.strip()}")
    figures = json.loads(done.stdout.splitlines()[-1])
    if figures.get("errors"):
        fail(f"{server.kind} answered {figures['errors']} times with {figures['first_error']}")
    return figures


def held(server, mode, **options):
    """Starts the load generator and returns it once it holds what it was asked to open, with its figures."""
    command = bench_command(server, mode, options)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    figures = {}
    for line in process.stdout:
        if line.strip() == "ready":
            return process, figures
        figures = json.loads(line)
    return fail(f"kvorum-bench {mode} ended early against {server.kind}")


def release(process):
    process.stdin.close()
    process.wait()


# Of these figures more is better.
HIGHER = ("per second", "share of the rate")


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratio(rounds, figure, kind="kvorum"):
    """How many times better than etcd: the median over the rounds; empty where a figure is not above zero."""
    pairs = [(r[kind][figure], r["etcd"][figure]) for r in rounds]
    ratios = [ours / theirs if figure in HIGHER else theirs / ours for ours, theirs in pairs if ours > 0 and theirs > 0]
    return f"{statistics.median(ratios):.1f}×" if ratios else ""


def median(rounds, figure, kind):
    return number(statistics.median(r[kind][figure] for r in rounds))


def table(results, servers):
    """With two columns more where a server that does nothing took part."""
    ceiling = any("nothing" in rounds[0] for rounds in results.values())
    head = ["measurement", "figure", servers["kvorum"], servers["etcd"], "ratio"]
    if ceiling:
        head += ["does nothing", "its ratio"]
    lines = [f"| {' | '.join(head)} |", f"| --- | --- {'| ---: ' * (len(head) - 2)}|"]
    for name, rounds in results.items():
        shown = name
        for figure in rounds[0]["kvorum"]:
            cells = [shown, figure, *(median(rounds, figure, kind) for kind in ("kvorum", "etcd")), ratio(rounds, figure)]
            if "nothing" in rounds[0]:
                cells += [median(rounds, figure, "nothing"), ratio(rounds, figure, "nothing")]
            elif ceiling:
                cells += ["", ""]
            lines.append(f"| {' | '.join(cells)} |")
            shown = ""
    return "\n".join(lines) + "\n"


def write_tables(text):
    for readme in ("README.md", "README.zh-CN.md"):
        path = os.path.join(ROOT, readme)
        with open(path, encoding="utf-8") as file:
            content = file.read()
        begin, end = "<!-- bench begin -->\n", "<!-- bench end -->"
        if begin not in content or end not in content:
            fail(f"{readme} has no place for the table")
        head, rest = content.split(begin, 1)
        with open(path, "w", encoding="utf-8") as file:
            file.write(head + begin + text + end + rest.split(end, 1)[1])
