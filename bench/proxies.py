"""What stands between clients and members: gateway, HTTP proxy, gRPC proxy, each before a member of its own kind."""

import os
import socket
import subprocess
import time

import v2_api
from harness import PATIENCE_SECONDS, Running, fail, free_port, held, kvorum_bench, release

WATCHERS = 10_000
COALESCED = 100_000


class Proxy(Running):
    """One proxy before `server`; the program is the server's own."""

    def __init__(self, server, *arguments):
        self.kind = server.kind
        self.port = free_port()
        self.directory = server.directory
        log = os.path.join(server.directory, "proxy-log")
        command = [word.format(listen=self.target, server=server.target, directory=server.directory,
                               name=server.name, peer=server.peer_url) for word in arguments]
        with open(log, "ab") as out:
            self.process = subprocess.Popen([server.program, *command], stdout=out, stderr=subprocess.STDOUT)
        begin = time.monotonic()
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() - begin > PATIENCE_SECONDS:
                    fail(f"the proxy of {self.kind} did not start, see {log}")
                time.sleep(0.002)

    @property
    def target(self):
        return f"127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


GATEWAY = ("gateway", "start", "--endpoints={server}", "--listen-addr={listen}")
GRPC_PROXY = ("grpc-proxy", "start", "--endpoints={server}", "--listen-addr={listen}")
HTTP_PROXY = ("--proxy=on", "--name=proxy", "--data-dir={directory}/proxy", "--listen-client-urls=http://{listen}",
              "--initial-cluster={name}={peer}")


def beside_direct(arguments, measure):
    """The rate through the proxy, and its share of the one without; both in one run."""

    def both(server, seconds):
        with Proxy(server, *arguments) as proxy:
            before = proxy.cpu_seconds()
            through = measure(proxy, seconds)
            cpu = proxy.cpu_seconds() - before
        direct = measure(server, seconds)
        return {
            "per second": through["per second"],
            "p99 µs": through["p99 µs"],
            "proxy's CPU ms per 1,000": cpu * 1e6 / (through["per second"] * seconds),
            "share of the rate": through["per second"] / direct["per second"],
        }

    return both


def get(server, seconds):
    kvorum_bench(server, "fill", keys=10_000)
    figures = kvorum_bench(server, "run", workload="get", connections=16, streams=8, seconds=seconds)
    return {"per second": figures["per_second"], "p99 µs": figures["p99_us"]}


def put(server, seconds):
    figures = kvorum_bench(server, "run", workload="put", connections=16, streams=8, seconds=seconds)
    return {"per second": figures["per_second"], "p99 µs": figures["p99_us"]}


def v2_get(server, seconds):
    return v2_api.get(64)(server, seconds)


def v2_put(server, seconds):
    return v2_api.put(256)(server, seconds)


def fan_out(server, _):
    with Proxy(server, *GRPC_PROXY) as proxy:
        figures = kvorum_bench(proxy, "watch-fanout", watchers=WATCHERS, watch_streams=100, events=100)
        return {
            "per second": figures["per_second"],
            "p50 µs": figures["p50_us"],
            "p99 µs": figures["p99_us"],
            "proxy's CPU s": proxy.cpu_seconds(),
        }


def coalesced(server, _):
    with Proxy(server, *GRPC_PROXY) as proxy:
        before = proxy.memory_bytes()
        process, _ = held(proxy, "hold-watchers", watchers=COALESCED, keys=101, watch_streams=1000)
        after = proxy.memory_bytes()
        release(process)
        return {"bytes each": (after - before) / COALESCED}


MEASUREMENTS = {
    "gateway: get, 16 × 8": beside_direct(GATEWAY, get),
    "gateway: put, 16 × 8": beside_direct(GATEWAY, put),
    "HTTP proxy: v2 GET of a key, wrk 64": beside_direct(HTTP_PROXY, v2_get),
    "HTTP proxy: v2 PUT of a key, wrk 256": beside_direct(HTTP_PROXY, v2_put),
    "gRPC proxy: get, serializable, 16 × 8": beside_direct(GRPC_PROXY, get),
    "gRPC proxy: put, 16 × 8": beside_direct(GRPC_PROXY, put),
    f"gRPC proxy: watch, 1 key × {WATCHERS:,} watchers": fan_out,
    f"gRPC proxy: {COALESCED:,} watches of 101 keys, 1,000 clients": coalesced,
}
