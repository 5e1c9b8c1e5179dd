"""The v2 API: what scripts/bench measures of it, against an etcd that still has it."""

import http.client
import os
import re

from harness import BIN, Running, Server, fail, free_port, held, kvorum_bench, release, subprocess

FOLDER = os.path.dirname(os.path.abspath(__file__))
WAITERS = 10_000
PIPELINE = "v2_pipeline.lua"


class V2Server(Server):
    """One member that serves the v2 API."""

    def __init__(self, kind, program, directory):
        super().__init__(kind, program, directory)
        # Alike for both: by itself etcd 3.4 takes a snapshot after ten times as many entries as later releases.
        self.cluster_flags += ["--enable-v2", "--snapshot-count=100000"]


class Nothing(Running):
    """A server that finds where a request ends and sends an answer that was made before: what the load generator and
    the system leave of the machine for any server. With `writes` it first brings what came to the disk, with one sync
    for all that came at a time: a server that answers a put has promised to keep it."""

    kind = "nothing"

    def __init__(self, directory, writes):
        self.directory = directory
        self.writes = writes
        self.target = f"127.0.0.1:{free_port()}"

    def start(self):
        command = [os.path.join(BIN, "kvorum-bench"), "nothing", f"--target={self.target}"]
        if self.writes:
            command.append(f"--log={os.path.join(self.directory, 'log')}")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            fail("the server that does nothing did not start")
        return self


UNITS = {"us": 1, "ms": 1000, "s": 1_000_000}


def micros(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * UNITS[unit]


def wrk(server, seconds, path, connections, script=None):
    """Requests over connections that are kept, as fast as answers come."""
    before = server.cpu_seconds()
    command = ["wrk", "--latency", "-t", "1", "-c", str(connections), "-d", f"{max(1, round(seconds))}s"]
    if script:
        command += ["-s", os.path.join(FOLDER, script)]
    out = subprocess.run([*command, f"http://{server.target}{path}"], capture_output=True, text=True, check=True).stdout
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    if "Non-2xx" in out or "Socket errors" in out or requests == 0:
        fail(f"wrk against {server.kind}: {out}")
    figures = {
        "per second": float(re.search(r"Requests/sec: *([\d.]+)", out).group(1)),
        "p50 µs": micros(re.search(r"50% +(\S+)", out).group(1)),
        "p99 µs": micros(re.search(r"99% +(\S+)", out).group(1)),
        "CPU ms per 1,000": (server.cpu_seconds() - before) * 1e6 / requests,
    }
    if script == PIPELINE:  # of requests in one write wrk does not know when each was sent
        del figures["p50 µs"], figures["p99 µs"]
    return figures


def fill(server, keys):
    connection = http.client.HTTPConnection(server.target)
    for i in range(keys):
        connection.request("PUT", f"/v2/keys/bench/{i:026}", "value=" + "v" * 256,
                           {"Content-Type": "application/x-www-form-urlencoded"})
        response = connection.getresponse()
        response.read()
        if response.status not in (200, 201):
            fail(f"{server.kind} answers a put with {response.status}")
    connection.close()


def get(connections, query="", script=None):
    def measure(server, seconds):
        fill(server, 100)
        return wrk(server, seconds, f"/v2/keys/bench/{7:026}{query}", connections, script)

    return measure


def put(connections):
    def measure(server, seconds):
        return wrk(server, seconds, "/", connections, "v2_put.lua")

    return measure


def listing(server, seconds):
    fill(server, 1000)
    return wrk(server, seconds, "/v2/keys/bench?recursive=true&sorted=true", 4)


def wake(server, _):
    figures = kvorum_bench(server, "v2-wake", watchers=WAITERS, events=7)
    return {"per second": figures["per_second"], "p50 µs": figures["p50_us"], "max µs": figures["max_us"]}


def waiting(server, _):
    before = server.memory_bytes()
    process, _ = held(server, "v2-hold", watchers=WAITERS)
    after = server.memory_bytes()
    release(process)
    return {"bytes each": (after - before) / WAITERS}


def has_ceiling(name):
    """Whether a server that does nothing can stand for others: its answers have these sizes only."""
    return " list " not in name and not name.endswith(" waiters")


def nothing_for(name, directory):
    return Nothing(directory, writes=name.startswith("v2: PUT "))


MEASUREMENTS = {
    "v2: GET of a key, wrk 16": get(16),
    "v2: GET of a key, wrk 256": get(256),
    # With one request at a time wrk takes half of a small machine, more than the server.
    "v2: GET of a key, wrk 16, 16 pipelined": get(16, script=PIPELINE),
    "v2: GET of a key, quorum, wrk 64": get(64, "?quorum=true"),
    "v2: PUT of a key, wrk 16": put(16),
    "v2: PUT of a key, wrk 64": put(64),
    "v2: PUT of a key, wrk 256": put(256),
    "v2: list of 1,000 keys, sorted, wrk 4": listing,
    f"v2: {WAITERS:,} waiters for one key are woken": wake,
    f"v2: {WAITERS:,} waiters": waiting,
}
