"""Clients of the v2 API that mean no good, or know no better: a clear answer or a closed connection, bounded memory, and
everybody else is served on. usage: v2_abuse_test.py TEST"""

import io
import os
import random
import resource
import select
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from cluster import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position
from v2 import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position

KIND = os.environ.get("KVORUM_TEST_V2_SUBJECT", "kvorum")  # etcd: tests the tests
MIB = 1 << 20


class Victim:
    """One member that has to go on serving, with its memory measured."""

    def __enter__(self):
        self.cluster = Cluster([KIND], ["--enable-v2"]).__enter__()
        self.cluster.start()
        self.member = self.cluster.members[0]
        v2(self.member).put("/before", "x")
        self.begin = self.memory()
        return self

    def __exit__(self, kind, error, trace):
        try:
            if error is None:
                self.check_serves()
        finally:
            self.cluster.__exit__(kind, error, trace)

    def memory(self):
        with open(f"/proc/{self.member.process.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1)) * 1024

    def check_memory(self, limit, what):
        more = self.memory() - self.begin
        print(f"{what}: {more / MIB:.1f} MiB more than at the start")
        assert more < limit, f"{what}: {more} bytes more"

    def check_serves(self):
        client = v2(self.member)
        assert client.get("/before").node["value"] == "x"
        assert client.put("/after", "y").status in (200, 201)
        assert client.get("/after", quorum=True).node["value"] == "y"

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.member.client_port), timeout=PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def ask(self, data):
        """What is answered to these bytes until the server has no more to say."""
        with self.connect() as connection:
            try:
                connection.sendall(data)
            except OSError:
                pass
            return read_answer(connection)


def read_answer(connection):
    """Head and body of one answer, or what came of it."""
    got = b""
    try:
        while True:
            head, end, body = got.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
            if end and length and len(body) >= int(length.group(1)):
                return got.decode("utf-8", "replace")
            data = connection.recv(65536)
            if not data:
                return got.decode("utf-8", "replace")
            got += data
    except OSError:
        return got.decode("utf-8", "replace")


def request(method, path, body=b"", headers=()):
    head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}",
            "Content-Type: application/x-www-form-urlencoded", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def malformed_forms_are_refused():
    with Victim() as victim:
        for body in (b"value=%zz", b"value=%", b"value=%4", b"%zz=x", b"a;b", b"value=x&ttl=1;2", b"value=%u0041"):
            answer = victim.ask(request("PUT", "/v2/keys/bad", body))
            assert answer.startswith("HTTP/1.1 400") and '"errorCode":210' in answer, (body, answer)
        for path in ("/v2/keys/bad?value=%zz", "/v2/keys/bad?a;b", "/v2/keys/bad?ttl=%%%"):
            answer = victim.ask(request("PUT", path))
            assert answer.startswith("HTTP/1.1 400"), (path, answer)
        for seed in range(300):  # whatever it is, it is answered
            noise = random.Random(seed)
            body = bytes(noise.choice(b"value=&ttl%;+dirprevIndex\0\xff\r\n{}[]\"") for _ in range(noise.randrange(200)))
            answer = victim.ask(request(noise.choice(["PUT", "POST", "DELETE", "GET"]), "/v2/keys/noise", body))
            assert re.match(r"HTTP/1.1 (200|201|400|403|404|412) ", answer), (seed, body, answer)
        assert v2(victim.member).get("/bad").code == 100


def malformed_requests_are_refused():
    with Victim() as victim:
        for data in (b"GET\r\n\r\n", b"GET /v2/keys/%zz HTTP/1.1\r\nHost: x\r\n\r\n", b"\0\1\2\3\r\n\r\n",
                     b"GET /v2/keys/a HTTP/9.9\r\nHost: x\r\n\r\n",
                     b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                     b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
                     b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
                     b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                     b"Content-Type: application/x-www-form-urlencoded\r\n\r\nzz\r\n\r\n",
                     b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n"):
            with victim.connect() as connection:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                answer = read_answer(connection)
            assert not answer or re.match(r"HTTP/1.\d [45]\d\d ", answer), (data, answer)
        assert v2(victim.member).get("/a").code == 100


def bodies_over_the_limit_are_refused():
    with Victim() as victim:
        body = b"value=" + b"x" * (20 * MIB)
        for _ in range(5):
            answer = victim.ask(request("PUT", "/v2/keys/large", body))
            # The answer may come before all was sent, and the connection close behind it.
            assert not answer or answer.startswith("HTTP/1.1 400") or answer.startswith("HTTP/1.1 413"), answer[:300]
        assert v2(victim.member).get("/large").code == 100
        # Forty at a time, all but the last byte of which come.
        connections = [victim.connect() for _ in range(40)]
        for connection in connections:
            try:
                connection.sendall(request("PUT", "/v2/keys/large", body)[:9 * MIB])
            except OSError:
                pass
        victim.check_serves()
        victim.check_memory(1024 * MIB, "40 bodies of 9 MiB under way")
        for connection in connections:
            connection.close()
        form = b"&".join(b"n%d=v" % i for i in range(500_000))
        assert victim.ask(request("PUT", "/v2/keys/many", form)).startswith("HTTP/1.1 20")
        answer = victim.ask(request("PUT", "/v2/keys" + "/d" * 3000, b"value=x"))
        assert answer.startswith("HTTP/1.1 400") and '"errorCode":209' in answer, answer
        assert victim.ask(request("PUT", "/v2/keys" + "/d" * 128, b"value=x")).startswith("HTTP/1.1 201")
        assert victim.ask(request("GET", "/v2/keys/d?recursive=true&sorted=true")).startswith("HTTP/1.1 ")


def header_floods_are_cut_off():
    with Victim() as victim:
        flood = [f"X-Header-{i}: {'v' * 100}" for i in range(100_000)]
        answer = victim.ask(request("GET", "/v2/keys/before", headers=flood))
        assert not answer or re.match(r"HTTP/1.1 4\d\d ", answer), answer[:300]
        answer = victim.ask(request("GET", "/v2/keys/" + "k" * (4 * MIB)))
        assert not answer or re.match(r"HTTP/1.1 4\d\d ", answer), answer[:300]
        connections = [victim.connect() for _ in range(100)]
        for connection in connections:  # heads that have no end
            try:
                connection.sendall(b"GET /v2/keys/before HTTP/1.1\r\n" + b"X: y\r\n" * 20_000)
            except OSError:
                pass
        victim.check_serves()
        victim.check_memory(512 * MIB, "100 heads without an end")
        for connection in connections:
            connection.close()


def slow_clients_hold_up_nobody():
    with Victim() as victim:
        data = request("PUT", "/v2/keys/slow", b"value=byte+by+byte")
        connections = [victim.connect() for _ in range(200)]
        for at in range(len(data)):  # a byte of each in turn
            for connection in connections:
                connection.send(data[at:at + 1])
            if at % 20 == 0:
                victim.check_serves()
        for connection in connections:
            assert re.match(r"HTTP/1.1 20[01] ", read_answer(connection))
            connection.close()
        assert v2(victim.member).get("/slow").node["value"] == "byte by byte"


def greedy_readers_hold_no_memory():
    """They ask for much, of the tree, of one key and of the history, and read it late; what they get is of the moment
    when they asked."""
    with Victim() as victim:
        large = "x" * MIB
        for i in range(8):
            made = v2(victim.member).put(f"/large/{i}", large)
            assert made.status == 201
        asked = ["/large?recursive=true", "/large", "/large?quorum=true", "/large/7",
                 f"/large/7?wait=true&waitIndex={made.index}"]
        begin = victim.memory()
        greedy = [victim.connect() for _ in range(300)]
        for i, connection in enumerate(greedy):
            connection.sendall(request("GET", "/v2/keys" + asked[i % len(asked)]))
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
        for _ in range(20):
            victim.check_serves()
        more = victim.memory() - begin
        print(f"300 readers of up to 8 MiB that do not read: {more / MIB:.1f} MiB more")
        assert KIND != "kvorum" or more < 250 * MIB, more
        for i in range(8):
            assert v2(victim.member).put(f"/large/{i}", "y").status == 200
        for connection in greedy[:10]:
            connection.settimeout(PATIENCE)
            response = http.client.HTTPResponse(Rest(connection, b"HTTP/1.1 200 OK"))
            response.begin()
            body = json.loads(response.read())["node"]
            values = [node["value"] for node in body["nodes"]] if "nodes" in body else [body["value"]]
            assert values == [large] * (8 if "nodes" in body else 1), [len(value) for value in values]
        for connection in greedy:
            connection.close()


class Rest:
    """A connection of whose answer the beginning was read, for HTTPResponse."""

    def __init__(self, connection, begun):
        self.file = connection.makefile("rb")
        self.begun = begun

    def makefile(self, _):
        return io.BufferedReader(Joined(self.begun, self.file))


class Joined(io.RawIOBase):
    def __init__(self, begun, file):
        super().__init__()
        self.begun = begun
        self.file = file

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self.begun or self.file.read1(len(buffer))
        self.begun = b""
        buffer[:len(data)] = data
        return len(data)


def a_watcher_that_does_not_read_is_no_burden():
    with Victim() as victim:
        lazy = [victim.connect() for _ in range(20)]
        for connection in lazy:
            connection.sendall(request("GET", "/v2/keys/noisy?wait=true&stream=true"))
            connection.recv(1)  # it has begun
        client = v2(victim.member)
        value = "x" * 50_000
        for i in range(1500):
            assert client.put("/noisy", value + str(i)).status in (200, 201)
        victim.check_memory(1024 * MIB, "20 streams that are not read, 75 MB of events, 1,000 of them in the history")
        for connection in lazy:
            connection.close()


def thousands_of_idle_waiters_are_cheap():
    count = 5000
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))  # the member inherits it
    assert limit >= 3 * count, f"a process may have no more than {limit} files"
    with Victim() as victim:
        waiters = []
        for i in range(count):
            connection = victim.connect()
            connection.sendall(request("GET", f"/v2/keys/idle/{i % 100}?wait=true"))
            waiters.append(connection)
        for connection in waiters:
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        victim.check_memory(count * 64 * 1024, f"{count} idle waiters")
        for _ in range(50):
            victim.check_serves()
        statistics = v2(victim.member).call("GET", "/v2/stats/store").body
        assert statistics["watchers"] == count, statistics
        assert v2(victim.member).put("/idle/7", "wake").status == 201
        woken = waiters[7::100]
        for connection in woken:
            text = b""
            while b'"wake"' not in text:
                data = connection.recv(4096)
                assert data, text
                text += data
        others = [w for i, w in enumerate(waiters) if i % 100 != 7]
        poll = select.poll()  # of the others nobody hears anything
        for connection in others:
            poll.register(connection, select.POLLIN)
        assert not poll.poll(0)
        for connection in waiters:
            connection.close()
        wait_until(lambda: v2(victim.member).call("GET", "/v2/stats/store").body["watchers"] == 0,
                   "the watchers of closed connections are gone")


TESTS = [
    malformed_forms_are_refused, malformed_requests_are_refused, bodies_over_the_limit_are_refused,
    header_floods_are_cut_off, slow_clients_hold_up_nobody, greedy_readers_hold_no_memory,
    a_watcher_that_does_not_read_is_no_burden,
    thousands_of_idle_waiters_are_cheap
]

if __name__ == "__main__":
    run_tests(TESTS)
