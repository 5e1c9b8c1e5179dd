"""Proxy mode in front of clusters of real processes: what clients see through it, and under faults.
usage: proxy_test.py TEST
"""

import glob
import os
import random
import re
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from cluster import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position
from discovery import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position
from dnsmasq import Dns, host, srv  # pylint: disable=wrong-import-position
from listener import listen  # pylint: disable=wrong-import-position
from proxy import Proxy  # pylint: disable=wrong-import-position
from v2 import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position

SCRIPTS = os.path.dirname(os.path.abspath(__file__))
# What the clusters themselves decide, and take time for: not through a proxy again.
NOT_THROUGH_A_PROXY = {"members", "maintenance", "errors", "hashkv"}
FAST = ["--proxy-refresh-interval=200", "--proxy-failure-wait=200"]
PRELUDE = """run() { printf '$ %s\\n' "$*"; "$@" 2>&1; printf '= %s\\n' $?; }
wait_lines() { until [ "$(wc -l <"$2")" -ge "$1" ]; do sleep 0.05; done; }
"""


def three(kind="kvorum"):
    return Cluster([kind] * 3, ["--enable-v2"])


# ---- etcdctl ----

def normalised(text, endpoint):
    text = text.replace(endpoint, "ENDPOINT")
    for pattern, replacement in ((r"127\.0\.0\.1:(2\d{4}|3[01]\d{3})", "ENDPOINT"),
                                 (r"\b[0-9a-f]{13,16}\b", "ID"), (r'"(cluster_id|member_id|ID|id|lease)":\d+', r'"\1":N'),
                                 (r'"(ClusterID|MemberID)" : \d+', r'"\1" : N'), (r'"raft_term":\d+', '"raft_term":N'),
                                 (r'"RaftTerm" : \d+', '"RaftTerm" : N'), (r"remaining\(\d+s\)", "remaining(Ns)"),
                                 (r'"(ts|caller|target)":"[^"]*"', r'"\1":X'), (r"took = [0-9a-zµ.]+", "took = T"),
                                 (r'"took":"[^"]*"', '"took":T'), (r"\[\d+\]$", "[N]"), (r"-{2,}", "--"), (r" {2,}", " ")):
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text


def run_script(path, api, server):
    """What a script of etcdctl commands prints with this server alone."""
    with tempfile.TemporaryDirectory(prefix="kvorum-etcdctl-") as folder:
        # Version 2 would ask the server for the members, and go on with those.
        wrapper = os.path.join(folder, "bin", "etcdctl")
        os.mkdir(os.path.dirname(wrapper))
        with open(wrapper, "w", encoding="ascii") as file:
            file.write(f"#!/bin/sh\nexec {shutil.which('etcdctl')} {'--no-sync' if api == 2 else ''} \"$@\"\n")
        os.chmod(wrapper, 0o755)
        environment = dict(os.environ, ETCDCTL_API=str(api), ETCDCTL_ENDPOINTS=f"http://{server.endpoint}", OUT="out",
                           PATH=os.path.dirname(wrapper) + ":" + os.environ["PATH"])
        result = subprocess.run(["bash", "-c", f"{PRELUDE}. {path}"], cwd=folder, env=environment, timeout=PATIENCE * 2,
                                capture_output=True, text=True, check=False)
        assert not result.stderr, result.stderr
        return normalised(result.stdout, server.endpoint)


def scripts_print_the_same(folder, api, members, proxy_kind):
    """Every script, each with a fresh cluster: directly, and through a proxy."""
    checked = 0
    for path in sorted(glob.glob(os.path.join(SCRIPTS, folder, "*.sh"))):
        if os.path.basename(path)[:-3] in NOT_THROUGH_A_PROXY:
            continue
        with Cluster([members], ["--enable-v2"]) as cluster:
            cluster.start()
            expected = run_script(path, api, cluster.members[0])
        with Cluster([members], ["--enable-v2"]) as cluster:
            cluster.start()
            with Proxy(proxy_kind, cluster) as proxy:
                printed = run_script(path, api, proxy)
                assert printed == expected, f"{path}\n---- directly\n{expected}\n---- by the proxy\n{printed}"
                assert api == 3 or proxy.metric("etcd_proxy_handled_total") > 0
        assert "= 0\n" in expected, f"{path} ran nothing:\n{expected}"
        checked += 1
    assert checked >= 6, checked


def etcdctl_2_through_a_proxy():
    scripts_print_the_same("etcdctl_v2", 2, "kvorum", "kvorum")


def etcdctl_2_through_a_proxy_of_etcd_members():
    scripts_print_the_same("etcdctl_v2", 2, "etcd", "kvorum")


def etcdctl_2_through_etcds_proxy_of_kvorum_members():
    scripts_print_the_same("etcdctl_v2", 2, "kvorum", "etcd")


def etcdctl_3_through_a_proxy():
    scripts_print_the_same("etcdctl", 3, "kvorum", "kvorum")


def etcdctl_3_through_a_proxy_of_etcd_members():
    scripts_print_the_same("etcdctl", 3, "etcd", "kvorum")


# ---- the same as etcd's proxy ----

REQUESTS = [
    ("PUT", "/v2/keys/a", "value=1"), ("GET", "/v2/keys/a", None), ("HEAD", "/v2/keys/a", None),
    ("PUT", "/v2/keys/a?prevExist=false", "value=2"), ("GET", "/v2/keys/none", None), ("GET", "/v2/keys/a?wait=x", None),
    ("GET", "/v2/keys/a%20b%2Fc?quorum=true", None), ("POST", "/v2/keys/q", "value=%20x"),
    ("DELETE", "/v2/keys/a?prevIndex=1", None), ("PATCH", "/v2/keys/a", "x"), ("OPTIONS", "/v2/keys/a", None),
    ("GET", "/version", None), ("GET", "/health", None), ("GET", "/v2/members", None), ("GET", "/v2/machines", None),
    ("GET", "/v2/stats/store", None), ("GET", "/nothing", None), ("GET", "/v2/keys/%zz", None),
    ("GET", "//v2//keys/../keys/a?x=1", None), ("HEAD", "/v2/./keys", None), ("PUT", "/v2//keys/a", "value=x"),
    ("GET", "/v2/config/local/proxy", None), ("POST", "/v2/config/local/proxy", ""), ("HEAD", "/v2/config/local/proxy", None),
    ("GET", "/v2/config/local/proxy/", None), ("PUT", "/v2/config/local/log", "x"),
    ("POST", "/v3/kv/range", "{}"), ("POST", "/v3/kv/put", '{"key":"YQ==","value":"YQ=="}'), ("OPTIONS", "/nothing", None),
    ("GET", "/v2/keys/a?wait=true&waitIndex=1", None), ("PUT", "/v2/keys/big", "value=" + "x" * 100000),
    ("GET", "/v2/keys/big", None), ("GET", "/v2/keys/?recursive=true&sorted=true", None),
]


def raw(server, method, target, body, headers=()):
    """Status, headers and body of an answer. The headers without what tells the time, and once each."""
    connection = http.client.HTTPConnection("127.0.0.1", server.client_port, timeout=20)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Type", "application/x-www-form-urlencoded")
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body.encode() if body is not None else None)
        response = connection.getresponse()
        text = response.read().decode()
        told = {(name.lower(), value) for name, value in response.getheaders()}
        # How long a body is said to be depends on how large a server's buffers are.
        skipped = ("date", "content-length", "transfer-encoding", "x-raft-index", "x-raft-term")
        return response.status, sorted(pair for pair in told if pair[0] not in skipped), text
    finally:
        connection.close()


def without_what_changes(answer):
    """Without what another cluster of the same kind would have otherwise."""
    status, headers, text = answer
    for pattern, replacement in ((r"127\.0\.0\.1:\d+", "ENDPOINT"), (r"\b[0-9a-f]{13,16}\b", "ID"),
                                 (r'"(revision|raft_term|cluster_id|member_id)":"\d+"', r'"\1":N'),
                                 (r'(startTime|uptime)":"[^"]*"', r'\1":T')):
        text = re.sub(pattern, replacement, text)
    return status, [(name, "ID" if name == "x-etcd-cluster-id" else value) for name, value in headers], text


def answers_of(proxy_kind, members, mode):
    """What a fresh cluster answers through a proxy, while it lives and when it is dead."""
    with Cluster([members], ["--enable-v2"]) as cluster:
        cluster.start()
        # The members' choice of a version is a write too, and takes an index.
        wait_until(lambda: "not_decided" not in raw(cluster.members[0], "GET", "/version", None)[2], "a version is chosen")
        assert v2(cluster.members[0]).put("/a", "0").status == 201
        with Proxy(proxy_kind, cluster, mode=mode) as proxy:
            answers = [without_what_changes(raw(proxy, *request)) for request in REQUESTS]
            assert v2(cluster.members[0]).put("/w", "0").status == 201  # nobody has an old index
            cluster.members[0].kill()
            for method in ("PUT", "GET", "GET"):
                answers.append(raw(proxy, method, "/v2/keys/a", None))
            answers.append(raw(proxy, "GET", "/v2/config/local/proxy", None))
            return answers


def answers_as_etcds(members, mode):
    """The same requests, one after the other, by both proxies."""
    dead = [("PUT", "dead"), ("GET", "dead"), ("GET", "dead again"), ("GET", "endpoints of the dead")]
    for request, found, wanted in zip(REQUESTS + dead, answers_of("kvorum", members, mode),
                                      answers_of("etcd", members, mode)):
        assert found == wanted, f"{request[:2]}\n{found}\n{wanted}"
        assert mode != "readonly" or request[0] == "GET" or found[0] in (501, 301), found


def answers_are_as_through_etcds_proxy():
    answers_as_etcds("kvorum", "on")


def answers_are_as_through_etcds_proxy_of_etcd_members():
    answers_as_etcds("etcd", "on")


def answers_are_as_through_etcds_read_only_proxy():
    answers_as_etcds("kvorum", "readonly")


def requests_of_http_2_go_on_as_those_of_http_1():
    with three() as cluster:
        cluster.start()
        with Proxy("kvorum", cluster) as proxy:
            def curl(*arguments):
                command = ["curl", "-s", "--http2-prior-knowledge", "--max-time", str(PATIENCE), *arguments]
                return subprocess.run(command, capture_output=True, text=True, check=True).stdout

            keys = f"http://{proxy.endpoint}/v2/keys"
            assert '"value":"' + "x" * 100000 + '"' in curl("-X", "PUT", "-d", "value=" + "x" * 100000, f"{keys}/a")
            head = curl("-I", f"{keys}/a")
            assert head.startswith("HTTP/2 200") and "x-etcd-index" in head, head
            assert curl("-w", "%{http_code} %{http_version}", "-o", os.devnull, f"{keys}/none") == "404 2"
            watch = subprocess.Popen(["curl", "-sN", "--http2-prior-knowledge", f"{keys}/a?wait=true&stream=true"],
                                     stdout=subprocess.PIPE, text=True)
            seen = []
            threading.Thread(target=lambda: seen.extend(iter(watch.stdout.readline, "")), daemon=True).start()
            wait_until(lambda: v2(proxy).put("/a", "seen") and any('"value":"seen"' in line for line in seen),
                       "an event comes")
            watch.kill()
            watch.wait()


# ---- under faults ----

class Writers:
    """Clients that put keys of their own through one server, one after another, each until it is acknowledged."""

    def __init__(self, server, count=8):
        self.server = server
        self.stopping = False
        self.acknowledged = {}
        self.refused = {}
        self.bad = []
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def _run(self, number):
        client = v2(self.server, timeout=20)  # longer than a member waits for a leader
        for i in range(1 << 30):
            if not self._put(client, f"/load/{number}/{i}", str(i)):
                return

    def _put(self, client, key, value):
        while not self.stopping:
            try:
                answer = client.put(key, value)
            except LOST as error:
                self.refused[repr(error)[:60]] = self.refused.get(repr(error)[:60], 0) + 1
                continue
            if answer.status in (200, 201):
                self.acknowledged[key] = value
                return True
            self.refused[answer.status] = self.refused.get(answer.status, 0) + 1
            if answer.status < 500:
                self.bad.append(answer)
        return False

    def wait_for(self, more):
        target = len(self.acknowledged) + more
        wait_until(lambda: len(self.acknowledged) >= target or self.bad, f"{more} more puts are acknowledged")
        assert not self.bad, self.bad[:3]

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a writer hangs"
        assert not self.bad, self.bad[:3]
        return self

    def check(self, member):
        found = {}
        answer = v2(member, 30).get("/load", recursive=True, quorum=True)
        for folder in answer.node["nodes"]:
            for node in folder.get("nodes", ()):
                found[node["key"]] = node["value"]
        lost = [key for key, value in self.acknowledged.items() if found.get(key) != value]
        assert not lost, f"{len(lost)} of {len(self.acknowledged)} are lost: {lost[:5]}"
        print(f"{len(self.acknowledged)} puts, refused meanwhile: {self.refused}")


def members_die_and_come_back(kind):
    with three(kind) as cluster:
        cluster.start()
        with Proxy("kvorum", cluster, FAST) as proxy:
            writers = Writers(proxy, 64)  # what they write shares connections to members of Kvorum
            writers.wait_for(1000)
            for member in list(cluster.members) * 2:
                member.kill()
                writers.wait_for(1000)
                member.start(cluster.initial_cluster())
                cluster.wait_ready([member])
                writers.wait_for(1000)
            assert not [error for error in writers.stop().refused if error not in (500, 503)], writers.refused
            for member in cluster.members:
                writers.check(member)


def writes_survive_members_that_die():
    members_die_and_come_back("kvorum")


def writes_survive_etcd_members_that_die():
    members_die_and_come_back("etcd")


def a_dead_follower_is_not_noticed():
    """Nothing but a member's own answer reaches a client while a majority with its leader lives."""
    with three() as cluster:
        cluster.start()
        with Proxy("kvorum", cluster, FAST) as proxy:
            writers = Writers(proxy)
            for _ in range(4):
                member = random.choice(cluster.followers())
                writers.wait_for(200)
                member.kill()
                writers.wait_for(200)
                member.start(cluster.initial_cluster())
                cluster.wait_ready([member])
            assert not writers.stop().refused, writers.refused
            writers.check(cluster.members[0])


def members_are_replaced_under_load():
    with three() as cluster:
        cluster.start()
        with Proxy("kvorum", cluster, FAST) as proxy:
            writers = Writers(proxy)
            for member in list(cluster.members):
                fresh = cluster.add("kvorum", flags=["--enable-v2"])
                cluster.wait_ready([fresh])
                writers.wait_for(100)
                cluster.remove(member)
                assert member.wait() == 0
                wait_until(lambda gone=f"http://{member.endpoint}": gone not in (proxy.endpoints() or [gone]),
                           "the proxy forgets the removed member")
                writers.wait_for(100)
            urls = sorted(f"http://{m.endpoint}" for m in cluster.members)
            wait_until(lambda: sorted(proxy.endpoints()) == urls, "the proxy knows the present members")
            writers.stop().check(cluster.members[0])
            # It finds them again by itself, whatever its flags say.
            kept = json.load(open(os.path.join(proxy.directory, "proxy", "cluster"), encoding="ascii"))
            assert kept == {"PeerURLs": sorted(m.peer_url for m in cluster.members)}, kept
            assert proxy.terminate() == -signal.SIGTERM
            proxy.start()
            writers.check(proxy)


def v3_watches_go_on_when_members_die():
    with three() as cluster:
        cluster.start()
        with Proxy("kvorum", cluster, FAST) as proxy:
            watch = subprocess.Popen(["etcdctl", "--endpoints", proxy.endpoint, "watch", "--prefix", "k/"],
                                     env=dict(os.environ, ETCDCTL_API="3"), stdout=subprocess.PIPE,
                                     stderr=subprocess.DEVNULL, text=True)
            try:
                seen = []
                reader = threading.Thread(target=lambda: seen.extend(iter(watch.stdout.readline, "")), daemon=True)
                reader.start()

                def put(i):
                    def done():
                        client = Client(proxy.client_port)
                        try:
                            return client.put(f"k/{i}", str(i), timeout=3)
                        except (Refused, *LOST):
                            return None
                        finally:
                            client.close()
                    wait_until(done, "a put is acknowledged")

                wait_until(lambda: put("first") or "k/first\n" in seen, "the watch is there")
                for i, member in enumerate(cluster.members * 2):
                    member.kill()
                    put(2 * i)
                    member.start(cluster.initial_cluster())
                    cluster.wait_ready([member])
                    put(2 * i + 1)
                wait_until(lambda: "k/11\n" in seen, "the last event is seen")
                keys = [line.strip() for line in seen if line.startswith("k/") and line != "k/first\n"]
                ordered = list(dict.fromkeys(keys))
                assert ordered == [f"k/{i}" for i in range(12)], keys
            finally:
                watch.kill()
                watch.wait()


# ---- watches of the v2 API ----

def long_polls_and_streams_pass():
    with three() as cluster:
        cluster.start()
        with Proxy("kvorum", cluster) as proxy:
            stream = Stream(proxy, "/w", recursive=True)
            follower = Stream(proxy, "/w", recursive=True, follow=True)
            stream.open.wait(PATIENCE)
            follower.open.wait(PATIENCE)
            written = [v2(proxy).put(f"/w/{i % 10}", "x" * (i % 1000)).index for i in range(500)]
            for watcher in (stream, follower):
                wait_until(lambda watcher=watcher: len(watcher.events) >= 500, "every event comes")
                assert watcher.indexes() == written, watcher.errors
            follower.stopping = True


def a_read_timeout_ends_what_is_silent():
    with three() as cluster:
        cluster.start()
        with Proxy("kvorum", cluster, ["--proxy-read-timeout=300"]) as proxy:
            begin = time.monotonic()
            status, _, text = raw(proxy, "GET", "/v2/keys/never?wait=true", None)
            assert (status, text) == (200, "") and 0.2 < time.monotonic() - begin < 20
            assert v2(proxy).put("/a", "1").status == 201
            assert len(proxy.endpoints()) == 3


def a_frozen_member_is_left_in_time():
    """It takes connections, and answers nothing."""
    with three() as cluster:
        cluster.start()
        with Proxy("kvorum", cluster, ["--proxy-read-timeout=500", "--proxy-failure-wait=60000"]) as proxy:
            frozen = cluster.followers()[0]
            frozen.signal(signal.SIGSTOP)
            for i in range(20):
                answer = v2(proxy).get(f"/none/{i}")
                assert answer.code == 100, answer
            frozen.signal(signal.SIGCONT)


# ---- reads that share connections ----

class Readers:
    """Clients that read keys through one server and know what each holds; every tenth one is large."""

    def __init__(self, server, values, clients=32, each=320):
        self.server, self.values, self.each = server, values, each
        self.done = self.again = 0
        self.bad = []
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def _run(self, number):
        client = v2(self.server, timeout=20)
        for i in range(self.each):
            key = random.choice(list(self.values))
            while (answer := self._read(client, key, i)) is None:
                self.again += 1
            right = not answer.text if i % 20 == 19 else answer.node.get("value") == self.values[key]
            if answer.status != 200 or not right:
                self.bad.append((number, i, key, answer))
            self.done += 1
        client.close()

    def _read(self, client, key, i):
        """None where a member died in the middle of an answer, or the cluster has no leader for a moment."""
        query = {"quorum": True} if i % 50 == 49 else {}
        try:
            answer = client.call("HEAD" if i % 20 == 19 else "GET", "/v2/keys" + key, **query)
        except LOST:
            return None
        return None if query and answer.status in (500, 503) else answer

    def finish(self):
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a reader hangs"
        assert not self.bad, (len(self.bad), self.bad[:3])
        assert self.done == len(self.threads) * self.each
        print(f"{self.again} reads were tried again")


def reads_share_connections(kind):
    """10,240 reads of 32 clients, between watches, writes, answers that are long and clients that do not read."""
    with three(kind) as cluster:
        cluster.start()
        values = {f"/r/{i}": chr(97 + i % 26) * (100000 if i % 10 == 9 else 10 + i) for i in range(50)}
        for key, value in values.items():
            assert v2(cluster.members[0]).put(key, value).status == 201
        for member in cluster.members:  # a read of one member may be behind
            wait_until(lambda member=member: len(v2(member).get("/r").node.get("nodes", ())) == 50, "all have them")
        with Proxy("kvorum", cluster, FAST) as proxy:
            watcher = Stream(proxy, "/w", recursive=True, follow=True)
            watcher.open.wait(PATIENCE)
            lazy = [socket.create_connection(("127.0.0.1", proxy.client_port)) for _ in range(5)]
            for connection in lazy:
                connection.sendall(b"GET /v2/keys/r/9 HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
            readers = Readers(proxy, values)
            written = [v2(proxy).put(f"/w/{i}", str(i)).index for i in range(100)]
            wait_until(lambda: readers.done >= 2000, "reads go on")
            cluster.members[1].kill()
            wait_until(lambda: readers.done >= 5000, "reads go on")
            cluster.members[1].start(cluster.initial_cluster())
            cluster.wait_ready([cluster.members[1]])
            readers.finish()
            wait_until(lambda: len(watcher.events) >= 100, "every event comes")
            assert watcher.indexes() == written, watcher.errors
            watcher.stopping = True
            for connection in lazy:
                connection.settimeout(PATIENCE)
                received = 0
                while received < 100 * 100000:
                    received += len(connection.recv(1 << 20))
                connection.close()


def reads_share_connections_of_kvorum():
    reads_share_connections("kvorum")


def reads_share_connections_of_etcd():
    reads_share_connections("etcd")


# ---- bounds ----

def a_client_that_does_not_read_holds_little():
    with three() as cluster:
        cluster.start()
        for i in range(64):
            assert v2(cluster.members[0]).put(f"/big/{i}", "x" * 500000).status == 201
        with Proxy("kvorum", cluster) as proxy:
            before = proxy.memory()
            idle = []
            for _ in range(20):  # of 32 MB each
                connection = socket.create_connection(("127.0.0.1", proxy.client_port))
                connection.sendall(b"GET /v2/keys/big?recursive=true HTTP/1.1\r\nHost: x\r\n\r\n")
                idle.append(connection)
            for connection in idle:
                assert connection.recv(1) == b"H"
            for _ in range(20):
                assert v2(proxy, 30).get("/big/0").status == 200  # others are served meanwhile
            assert proxy.memory() - before < 64 << 20, proxy.memory() - before
            answer = v2(proxy, 60).get("/big", recursive=True)
            assert len(answer.node["nodes"]) == 64
            idle[0].settimeout(PATIENCE)
            rest = 0
            while rest < 32000000:
                rest += len(idle[0].recv(1 << 20))
            for connection in idle:
                connection.close()


def huge_bodies_are_refused():
    with three() as cluster:
        cluster.start()
        with Proxy("kvorum", cluster) as proxy:
            assert v2(proxy).put("/a", "x" * 1000000).status == 201
            status, _, text = raw(proxy, "PUT", "/v2/keys/a", "value=" + "x" * 12000000)
            assert (status, text) == (413, '{"message":"httpproxy: request body too large"}'), (status, text)
            with Proxy("kvorum", cluster, ["--max-request-bytes=1000"]) as small:
                result = subprocess.run(["etcdctl", "--endpoints", small.endpoint, "put", "k"], input="x" * 900000,
                                        env=dict(os.environ, ETCDCTL_API="3"), capture_output=True, text=True,
                                        check=False)
                assert "ResourceExhausted" in result.stderr, result


class Liar:
    """Says at its peer URL that it is a member, beside a real one, and answers clients with `answer` again and again."""

    def __init__(self, member):
        self.listener = listen(self._serve)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.list = json.dumps([
            {"id": 1, "peerURLs": [self.url], "name": "liar", "clientURLs": [self.url]},
            {"id": 2, "peerURLs": [self.url], "name": "real", "clientURLs": [f"http://{member.endpoint}"]},
        ]).encode()
        self.answer = b""
        self.times = 1
        self.asked = 0

    def close(self):
        self.listener.close()

    def _serve(self, connection):
        try:
            with connection:
                if b"/members" in connection.recv(65536).split(b"\r\n")[0]:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Etcd-Cluster-ID: a\r\nContent-Type: application/json\r\n"
                                       b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(self.list) + self.list)
                    return
                self.asked += 1
                for _ in range(self.times):
                    connection.sendall(self.answer)
        except OSError:
            pass


def nonsense_of_a_member_reaches_nobody():
    ok = b"HTTP/1.1 200 OK\r\n"
    with three() as cluster:
        cluster.start()
        assert v2(cluster.members[0]).put("/a", "1").status == 201
        liar = Liar(cluster.members[0])
        with Proxy("kvorum", cluster, FAST, found_by=["--initial-cluster", f"liar={liar.url}"]) as proxy:
            before = proxy.memory()
            for answer, times in (
                (b"", 1), (bytes(range(256)) * 100, 1), (ok + b"X-A: b\r\n" * 100000, 1000), (ok + b"X-A: " + b"b" * 100000, 1000),
                (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000, 1000), (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 1),
                (ok + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 1),
                (ok + b"X-A: b\rX-B: c\r\nContent-Length: 2\r\n\r\nhi", 1), (b"HTTP/1.1 -1 X\r\nContent-Length: 0\r\n\r\n", 1),
            ):
                liar.answer, liar.times, liar.asked = answer, times, 0

                def is_passed_over():
                    assert v2(proxy).get("/a").node["value"] == "1"
                    assert v2(proxy).get("/a", quorum=True).node["value"] == "1"
                    return liar.asked > 1

                wait_until(is_passed_over, f"the liar is asked: {answer[:30]}")
            assert proxy.memory() - before < 64 << 20, (before, proxy.memory())
        liar.close()


def thousands_wait():
    count = 2000
    with three() as cluster:
        cluster.start()
        with Proxy("kvorum", cluster) as proxy:
            before = proxy.memory()
            waiting = []
            for _ in range(count):
                connection = socket.create_connection(("127.0.0.1", proxy.client_port))
                connection.sendall(b"GET /v2/keys/w?wait=true HTTP/1.1\r\nHost: x\r\n\r\n")
                waiting.append(connection)
            for connection in waiting:
                connection.settimeout(PATIENCE)
                assert b"200 OK" in connection.recv(4096)
            each = (proxy.memory() - before) // count
            print(f"{each} bytes for each that waits")
            assert each < 20000, each
            assert v2(proxy).put("/w", "now").status == 201
            for connection in waiting:
                received = b""
                while b'"value":"now"' not in received:
                    received += connection.recv(4096)
                connection.close()


# ---- starting ----

def a_directory_stays_what_it_was():
    with Cluster(["kvorum"]) as cluster:
        cluster.start()
        with Proxy("kvorum", cluster) as proxy:
            assert os.listdir(proxy.directory) == ["proxy"]
            kept = os.path.join(proxy.directory, "proxy", "cluster")
            assert os.stat(kept).st_mode & 0o777 == 0o600
            # As etcd's: each starts on the other's.
            proxy.terminate()
            proxy.members, proxy.mode = "nobody=http://127.0.0.1:1", "off"
            proxy.flags.append(f"--advertise-client-urls=http://{proxy.endpoint}")
            for kind in ("etcd", "kvorum"):
                proxy.kind = kind
                proxy.start()
                assert v2(proxy).get("/").status == 200
                proxy.kill()
        member = cluster.members[0]
        member.terminate()
        member.flags = ["--proxy=on"]
        cluster.start()
        assert "server has been already initialized" in member.log()


def members_are_found_by_a_discovery_token():
    """A proxy waits until there are all, takes the place of none, and asks no more."""
    with Service() as service, Cluster(["kvorum"] * 3) as cluster:
        token = service.token(3)
        proxy = Proxy("kvorum", cluster, found_by=token)
        proxy.launch()
        try:
            for member in cluster.members:
                member.start(found_by=token)
            proxy.start()
            is_one_cluster(cluster)
            assert v2(proxy).put("/a", "1").status == 201
            service.member.kill()
            proxy.kill()
            proxy.start()
            assert "discovery token ignored since the proxy has already been initialized" in proxy.log()
            assert v2(proxy).get("/a").node["value"] == "1"
        finally:
            proxy.close()


def members_are_found_by_dns():
    with three() as cluster:
        cluster.start()
        records = [host("m.d.test")]
        records += [srv("etcd-server", "d.test", "m.d.test", m.listen_port, 0, 0) for m in cluster.members]
        with Dns(records) as dns:
            found_by = ["--discovery-srv=d.test", f"--dns-server={dns.address}"]
            with Proxy("kvorum", cluster, found_by=found_by) as proxy:
                assert len(proxy.endpoints()) == 3
                assert v2(proxy).put("/a", "1").status == 201


def waiting_for_a_discovery_token_ends_with_a_signal():
    with Service() as service, Cluster(["kvorum"]) as cluster:
        proxy = Proxy("kvorum", cluster, found_by=service.token(3))
        proxy.launch()
        try:
            wait_until(lambda: "waiting for more" in proxy.log(), "the proxy waits for members")
            assert proxy.terminate() == -signal.SIGTERM
            assert not os.path.exists(proxy.directory)
        finally:
            proxy.close()


def wrong_inputs_are_told():
    def fails(wanted, *flags, directory=None):
        with tempfile.TemporaryDirectory(prefix="kvorum-proxy-") as folder:
            result = subprocess.run([KVORUM, "--data-dir", directory or folder + "/data", *flags], capture_output=True,
                                    text=True, timeout=PATIENCE, check=False)
            errors = [line for line in result.stderr.splitlines() if '"level":"info"' not in line]
            # A lookup that fails says so itself, too.
            assert result.returncode == 1 and len(errors) <= 2 and wanted in errors[-1], (result.returncode, errors)
            assert not os.path.exists(folder + "/data"), "something was made"

    listen = f"--listen-client-urls=http://127.0.0.1:{free_port()}"
    fails("empty URL given for", "--proxy=on", listen, "--initial-cluster=x")
    fails("Choose one of", "--proxy=on", listen, "--initial-cluster=a=http://a:1", "--discovery=http://127.0.0.1:1/x")
    fails("error setting up initial cluster: error querying DNS SRV records", "--proxy=on", listen, "--discovery-srv=nowhere.invalid",
          f"--dns-server=127.0.0.1:{free_port()}")
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        taken = f"--listen-client-urls=http://127.0.0.1:{busy.getsockname()[1]}"
        fails("address already in use", "--proxy=on", taken, "--initial-cluster=a=http://127.0.0.1:1")
    with tempfile.TemporaryDirectory(prefix="kvorum-proxy-") as folder:
        os.makedirs(folder + "/proxy")
        with open(folder + "/proxy/cluster", "w", encoding="ascii") as file:
            file.write("{x")
        fails("cannot use cluster file", "--proxy=on", listen, directory=folder)
        os.makedirs(folder + "/member")
        fails("both member and proxy directories exist", "--proxy=on", listen, directory=folder)
    result = subprocess.run([KVORUM, "--proxy=maybe"], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert result.returncode == 2 and "maybe" in result.stderr, result


def a_read_only_proxy_serves_reads_of_v3():
    with three() as cluster:
        cluster.start()
        cluster.etcdctl("put", "a", "1")
        with Proxy("kvorum", cluster, mode="readonly") as proxy:
            assert cluster.etcdctl("get", "a", members=[proxy]) == "a\n1\n"
            assert len(cluster.etcdctl("member", "list", members=[proxy]).splitlines()) == 3
            for command in (["put", "a", "2"], ["del", "a"], ["lease", "grant", "10"], ["compact", "1"],
                            ["user", "add", "u:p"], ["defrag"], ["member", "remove", "1234"]):
                result = cluster.etcdctl(*command, members=[proxy], check=False)
                assert result.returncode != 0 and "read-only" in result.stdout + result.stderr, (command, result)
            assert cluster.etcdctl("get", "a") == "a\n1\n"


TESTS = [
    etcdctl_2_through_a_proxy, etcdctl_2_through_a_proxy_of_etcd_members,
    etcdctl_2_through_etcds_proxy_of_kvorum_members, etcdctl_3_through_a_proxy,
    etcdctl_3_through_a_proxy_of_etcd_members, answers_are_as_through_etcds_proxy,
    answers_are_as_through_etcds_proxy_of_etcd_members, answers_are_as_through_etcds_read_only_proxy,
    requests_of_http_2_go_on_as_those_of_http_1,
    writes_survive_members_that_die, writes_survive_etcd_members_that_die, a_dead_follower_is_not_noticed,
    members_are_replaced_under_load, v3_watches_go_on_when_members_die, long_polls_and_streams_pass,
    reads_share_connections_of_kvorum, reads_share_connections_of_etcd,
    a_read_timeout_ends_what_is_silent, a_frozen_member_is_left_in_time, a_client_that_does_not_read_holds_little,
    huge_bodies_are_refused, nonsense_of_a_member_reaches_nobody, thousands_wait, a_directory_stays_what_it_was, members_are_found_by_a_discovery_token,
    members_are_found_by_dns, waiting_for_a_discovery_token_ends_with_a_signal, wrong_inputs_are_told,
    a_read_only_proxy_serves_reads_of_v3
]

if __name__ == "__main__":
    run_tests(TESTS)
