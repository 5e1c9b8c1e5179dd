"""Three members on one machine: what scripts/bench measures of a cluster."""

import http.client
import json
import os
import subprocess
import threading
import time

from harness import PATIENCE_SECONDS, Server, bench_command, fail, kvorum_bench

MEMBERS = 3


def ask(member, path, body, timeout=1.0):
    """A request to the member's JSON gateway; None where it fails."""
    connection = http.client.HTTPConnection(member.target, timeout=timeout)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
        return json.loads(content) if response.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def status(member):
    return ask(member, "/v3/maintenance/status", {}) or {}


class Cluster:
    """Looks to the load generator like one server: its leader, unless another `target` is set."""

    def __init__(self, kind, program, directory):
        self.kind = kind
        self.directory = directory
        self.program = program
        self.members = [Server(kind, program, os.path.join(directory, name), name) for name in ("m1", "m2", "m3")]
        self.target = ""
        initial = ",".join(f"{member.name}={member.peer_url}" for member in self.members)
        for member in self.members:
            member.cluster_flags = [f"--initial-cluster={initial}"]

    def start(self):
        for member in self.members:
            member.launch()
        for member in self.members:
            member.wait_ready()
        self.target = self.leader().target
        return self

    def stop(self):
        for member in self.members:
            if member.process.poll() is None:
                member.stop()

    def leader(self):
        """The member that those which are running agree on."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            states = [(member, status(member)) for member in self.members if member.process.poll() is None]
            leaders = {state.get("leader", "0") for _, state in states}
            for member, state in states:
                if leaders == {state.get("header", {}).get("member_id")}:
                    return member
            time.sleep(0.02)
        return fail(f"{self.kind} elected no leader")

    def followers(self):
        leader = self.leader()
        return [member for member in self.members if member is not leader]

    def cpu_seconds(self):
        return sum(member.cpu_seconds() for member in self.members)


def load(workload, connections, streams, every_member=False):
    def measure(cluster, seconds):
        kvorum_bench(cluster, "fill", keys=10_000)
        if every_member:
            cluster.target = ",".join(member.target for member in cluster.members)
        before = cluster.cpu_seconds()
        figures = kvorum_bench(cluster, "run", workload=workload, connections=connections, streams=streams, seconds=seconds)
        return {
            "per second": figures["per_second"],
            "p50 µs": figures["p50_us"],
            "p99 µs": figures["p99_us"],
            "CPU ms per 1,000": (cluster.cpu_seconds() - before) * 1e6 / figures["requests"],
        }

    return measure


def equal_rate(workload, rate):
    def measure(cluster, seconds):
        kvorum_bench(cluster, "fill", keys=10_000)
        figures = kvorum_bench(cluster, "run", workload=workload, connections=16, rate=rate, seconds=seconds)
        return {"p50 µs": figures["p50_us"], "p99 µs": figures["p99_us"]}

    return measure


def failover(cluster, _):
    """From the leader's death until another member answers a put that began after it."""
    leader = cluster.leader()
    followers = cluster.followers()
    leader.process.kill()
    leader.process.wait()
    begin = time.monotonic()
    answered = threading.Event()
    times = []

    def puts(member):
        while not answered.is_set() and time.monotonic() - begin < PATIENCE_SECONDS:
            if ask(member, "/v3/kv/put", {"key": "aw==", "value": "dg=="}, timeout=0.25) is not None:
                times.append(time.monotonic() - begin)
                answered.set()
            time.sleep(0.005)

    threads = [threading.Thread(target=puts, args=(member,)) for member in followers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not times:
        fail(f"{cluster.kind} did not take a put after its leader's death")
    return {"seconds": min(times)}


def join_with_a_million_keys(cluster, _):
    """A fourth member is added and gets everything by a snapshot, while clients go on putting."""
    kvorum_bench(cluster, "fill", keys=1_000_000, key_bytes=32, value_bytes=256, connections=16, streams=16)
    puts = {"workload": "put", "keys": 100_000, "connections": 8, "streams": 2}
    alone = kvorum_bench(cluster, "run", **puts, seconds=5)["per_second"]
    joiner = Server(cluster.kind, cluster.program, os.path.join(cluster.directory, "m4"), "m4")
    initial = ",".join(f"{member.name}={member.peer_url}" for member in [*cluster.members, joiner])
    joiner.cluster_flags = [f"--initial-cluster={initial}", "--initial-cluster-state=existing"]
    added = ask(cluster.leader(), "/v3/cluster/member/add", {"peerURLs": [joiner.peer_url]}, timeout=10)
    if added is None:
        fail(f"{cluster.kind} did not add a member")
    process = subprocess.Popen(bench_command(cluster, "run", {**puts, "seconds": 60}), stdout=subprocess.PIPE, text=True)
    before = status(cluster.leader())
    begin = time.monotonic()
    joiner.launch()
    cluster.members.append(joiner)
    wanted = int(before["raftIndex"])
    while int(status(joiner).get("raftAppliedIndex", 0)) < wanted:
        if time.monotonic() - begin > PATIENCE_SECONDS or joiner.process.poll() is not None:
            fail(f"{cluster.kind}: the new member did not catch up")
        time.sleep(0.01)
    took = time.monotonic() - begin
    revisions = [int(status(cluster.leader())["header"]["revision"]) - int(before["header"]["revision"])]
    process.kill()
    process.wait()
    return {"seconds": took, "share of the rate": revisions[0] / took / alone}


MEASUREMENTS = {
    "three members: put, 16 × 8": load("put", 16, 8),
    "three members: put, 16 × 64": load("put", 16, 64),
    "three members: put, 1 × 1": load("put", 1, 1),
    "three members: get, linearizable, on any, 16 × 8": load("get-linearizable", 16, 8, every_member=True),
    "three members: put at 1,000 a second": equal_rate("put", 1_000),
    "three members: get, linearizable, at 2,000 a second": equal_rate("get-linearizable", 2_000),
    "three members: without a leader after kill -9": failover,
    "three members: a fourth joins, 1 M keys": join_with_a_million_keys,
}
