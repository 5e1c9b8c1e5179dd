"""Clusters of real processes, Kvorum's and etcd's, for tests that break them.

Everything is bounded in time; waiting is for conditions, never for a while. Clients speak the JSON gateway, which
both programs serve, so that a test needs nothing but Python.
"""

import base64
import fcntl
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import etcd_release  # pylint: disable=wrong-import-position
from running import Running  # pylint: disable=wrong-import-position

PATIENCE = 60
KVORUM = os.environ.get("KVORUM_PROGRAM") or os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "release", "bin", "kvorum")
ETCD_RELEASE = os.environ.get("KVORUM_TEST_ETCD_RELEASE")
ETCD = etcd_release.program(ETCD_RELEASE) if ETCD_RELEASE else "etcd"
SLOW_DISK = os.path.join(os.path.dirname(KVORUM), "libkvorum_slow_disk.so")

_held_ports = []


def free_port():
    """A port that no other test takes while this process lives; as FreePort of process.h."""
    locks = os.path.join(tempfile.gettempdir(), "kvorum-test-ports")
    os.makedirs(locks, exist_ok=True)
    for _ in range(1000):
        port = 20000 + random.SystemRandom().randrange(12000)
        lock = os.open(os.path.join(locks, str(port)), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(lock)
            continue
        _held_ports.append(lock)
        return port
    raise AssertionError("no free port")


def wait_until(condition, what, patience=PATIENCE):
    """What `condition` returns once that is true; fails after `patience` seconds."""
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {patience} s: {what}")
        time.sleep(0.02)


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, code, message):
        super().__init__(f"code {code}: {message}")
        self.code = code
        self.message = message

    def retriable(self):
        # What client libraries try again: deadline, too many requests, unavailable.
        return self.code in (4, 8, 14)


class Client:
    """A connection to one member. Of one thread."""

    def __init__(self, port):
        self.port = port
        self.connection = None

    def connect(self, timeout):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def call(self, path, body, timeout=10):
        """The answer to a gateway call. Refused for an error; OSError or HTTPException where none came."""
        try:
            if self.connection is None:
                self.connection = self.connect(timeout)
            if self.connection.sock is not None:
                self.connection.sock.settimeout(timeout)
            self.connection.timeout = timeout
            self.connection.request("POST", "/v3/" + path, json.dumps(body), {"Content-Type": "application/json"})
            response = self.connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        try:
            answer = json.loads(text)
        except ValueError as error:
            raise http.client.HTTPException(f"no JSON: {text[:200]!r}") from error
        if response.status != 200:
            raise Refused(answer.get("code"), answer.get("message") or answer.get("error"))
        return answer

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def put(self, key, value, timeout=10, lease=0):
        body = {"key": text64(key), "value": text64(value)}
        if lease:
            body["lease"] = str(lease)
        return int(self.call("kv/put", body, timeout)["header"]["revision"])

    def get(self, key, timeout=10, serializable=False):
        """The value, or None."""
        answer = self.call("kv/range", {"key": text64(key), "serializable": serializable}, timeout)
        found = answer.get("kvs", [])
        return plain(found[0].get("value", "")) if found else None

    def revision(self, timeout=5):
        """The revision that a linearizable read sees."""
        answer = self.call("kv/range", {"key": text64("revision?")}, timeout)
        return int(answer["header"]["revision"])

    def prefix(self, key, timeout=30, serializable=False, limit=0):
        """Keys with their values."""
        end = key[:-1] + chr(ord(key[-1]) + 1)
        answer = self.call(
            "kv/range",
            {"key": text64(key), "range_end": text64(end), "serializable": serializable, "limit": limit}, timeout)
        return {plain(kv["key"]): plain(kv.get("value", "")) for kv in answer.get("kvs", [])}

    def status(self, timeout=5):
        return self.call("maintenance/status", {}, timeout)

    def members(self, timeout=10):
        return self.call("cluster/member/list", {}, timeout)["members"]


def text64(text):
    return base64.b64encode(text.encode()).decode()


def plain(encoded):
    return base64.b64decode(encoded).decode()


LOST = (OSError, http.client.HTTPException)

# What a change of the membership may be answered with before it works, or was done already.
PASSING = re.compile("unhealthy cluster|not enough started|deadline exceeded|timed out|leader changed|no leader|"
                     "proposal dropped|raft: stopped|already exist|member not found")


class Member(Running):
    """One process and its data directory."""

    client_scheme = "http"
    peer_scheme = "http"

    def __init__(self, kind, name, directory, flags=(), client_host_port=None, program=None):
        self.kind = kind
        self.name = name
        self.directory = directory
        self.flags = list(flags)
        self.program = program or (KVORUM if kind == "kvorum" else ETCD)
        self.client_port = client_host_port or free_port()
        self.listen_port = free_port()
        self.advertised_port = self.listen_port
        self.learner = False  # answers no requests but serializable ones
        self.log_path = directory + ".log"
        self.preexec = None
        self.environment = {}  # of the process, from the next start on
        self.sync_milliseconds = 0  # how much longer its disk takes to sync, from the next start on

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.client_port}"

    @property
    def peer_url(self):
        return f"{self.peer_scheme}://127.0.0.1:{self.advertised_port}"

    def start(self, initial_cluster=None, state="new", extra=(), found_by=None):
        """`found_by`: the flags by which the first members are found, where it is not --initial-cluster."""
        client = f"{self.client_scheme}://{self.endpoint}"
        argv = [
            self.program, "--name", self.name, "--data-dir", self.directory, "--listen-client-urls", client,
            "--advertise-client-urls", client, "--listen-peer-urls",
            f"{self.peer_scheme}://127.0.0.1:{self.listen_port}",
            "--initial-advertise-peer-urls", self.peer_url
        ]
        argv += found_by or [
            "--initial-cluster-state", state, "--initial-cluster", initial_cluster or f"{self.name}={self.peer_url}"
        ]
        if self.kind == "etcd":
            argv += ["--logger=zap", "--log-outputs=stderr"]
        argv += self.flags + list(extra)
        environment = dict(os.environ, **self.environment)
        if self.sync_milliseconds:
            assert os.path.exists(SLOW_DISK), SLOW_DISK
            environment.update(LD_PRELOAD=SLOW_DISK, KVORUM_SLOW_DISK_MS=str(self.sync_milliseconds))
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                        preexec_fn=self.preexec, env=environment)
        log.close()

    def signal(self, number):
        self.process.send_signal(number)

    def client(self):
        return Client(self.client_port)

    def serves(self):
        """Whether it answers a linearizable read."""
        client = self.client()
        try:
            client.get("serves?", timeout=2)
            return True
        except (Refused, *LOST):
            assert self.process is None or self.alive(), f"{self.name} ended:\n{self.log()[-3000:]}"
            return False
        finally:
            client.close()

    def status(self):
        """The status, or None where it does not answer."""
        client = self.client()
        try:
            return client.status()
        except (Refused, *LOST):
            return None
        finally:
            client.close()

    def id(self):
        return int(wait_until(self.status, f"{self.name} tells its status")["header"]["member_id"])


class Cluster:
    """Members that belong together, in a folder of their own that goes away with them."""

    member_class = Member
    etcdctl_flags = ()

    def __init__(self, kinds, flags=(), proxied=False):
        self.folder = tempfile.mkdtemp(prefix="kvorum-cluster-")
        self.flags = list(flags)
        self.members = []
        self.made = 0
        self.proxies = Proxies() if proxied else None
        for kind in kinds:
            self.new_member(kind)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is not None:
            for member in self.members:
                sys.stderr.write(f"---- {member.kind} {member.name} ({member.endpoint}, peers "
                                 f"{member.listen_port})\n{tail(member.log_path)}")
        for member in self.members:
            if member.process is not None:
                try:
                    member.signal(signal.SIGCONT)
                except OSError:
                    pass
            member.kill()
        if self.proxies:
            self.proxies.close()
        if error is None or not os.environ.get("KVORUM_TEST_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def new_member(self, kind, name=None, flags=()):
        """Not started yet."""
        self.made += 1
        name = name or f"m{self.made}"
        member = self.member_class(kind, name, os.path.join(self.folder, name), self.flags + list(flags))
        if self.proxies:
            member.advertised_port = self.proxies.add(member)
        self.members.append(member)
        return member

    def initial_cluster(self, members=None):
        return ",".join(f"{m.name}={m.peer_url}" for m in members or self.members)

    def start(self, extra=()):
        for member in self.members:
            member.start(self.initial_cluster(), extra=extra)
        self.wait_ready()
        return self

    def wait_ready(self, members=None, patience=PATIENCE):
        for member in members or self.members:
            wait_until(member.serves, f"{member.name} serves", patience)
        if self.proxies:
            for member in members or self.members:
                self.proxies.know(member)

    def leader(self, patience=PATIENCE):
        """The member that leads, as a majority of those that answer say."""
        return wait_until(self._leader, "there is a leader", patience)

    def _leader(self):
        votes = {}
        by_id = {}
        for member in self.members:
            status = member.status() if member.alive() else None
            if not status:
                continue
            by_id[status["header"]["member_id"]] = member
            key = (int(status.get("raftTerm", 0)), status.get("leader", "0"))
            votes[key] = votes.get(key, 0) + 1
        for (_, leader), count in sorted(votes.items(), reverse=True):
            if leader != "0" and leader in by_id and count > len(by_id) // 2:
                return by_id[leader]
        return None

    def followers(self):
        leader = self.leader()
        return [m for m in self.members if m is not leader and m.alive()]

    def endpoints(self, members=None):
        return ",".join(m.endpoint for m in members or self.members if m.alive())

    def etcdctl(self, *arguments, members=None, check=True, timeout=PATIENCE):
        """Standard output of Debian's etcdctl, API version 3."""
        result = subprocess.run(["etcdctl", *self.etcdctl_flags, "--endpoints", self.endpoints(members),
                                 *arguments],
                                env=dict(os.environ, ETCDCTL_API="3"), capture_output=True, text=True,
                                timeout=timeout, check=False)
        if check and result.returncode != 0:
            raise AssertionError(f"etcdctl {' '.join(arguments)}: {result.stdout}{result.stderr}")
        return result.stdout if check else result

    def add(self, kind, name=None, learner=False, flags=(), start=True, patience=PATIENCE):
        """Adds a member through etcdctl, trying again while the cluster says that it is not healthy enough, and
        starts it."""
        running = [m for m in self.members if m.alive()]
        member = self.new_member(kind, name, flags)
        member.learner = learner
        arguments = ["member", "add", member.name, f"--peer-urls={member.peer_url}"]
        if learner:
            arguments.append("--learner")

        def added():
            result = self.etcdctl(*arguments, members=running, check=False)
            message = result.stdout + result.stderr
            assert result.returncode == 0 or PASSING.search(message), message
            # One that timed out may have been done.
            listed = self.listed_by(running)
            return listed if any(member.peer_url in m["peerURLs"] for m in listed or []) else None

        found = wait_until(added, f"{member.name} is added", patience)
        listed = ",".join(f"{m.get('name') or member.name}={url}" for m in found for url in m["peerURLs"])
        if start:
            member.start(listed, state="existing")
        return member

    def remove(self, member, patience=PATIENCE):
        """Removes the member; true to etcd, that may take until the others have been connected for long enough."""
        number = member.id() if member.alive() else next(
            int(m["ID"]) for m in self.members_listed() if m.get("name") == member.name)
        others = [m for m in self.members if m is not member and m.alive()]

        def removed():
            result = self.etcdctl("member", "remove", f"{number:x}", members=others, check=False)
            message = result.stdout + result.stderr
            assert result.returncode == 0 or PASSING.search(message), message
            return all(int(m["ID"]) != number for m in self.listed_by(others) or [{"ID": number}])

        wait_until(removed, f"{member.name} is removed", patience)
        self.members.remove(member)
        return member

    @staticmethod
    def listed_by(members):
        """The list of the first of these that answers, or None."""
        for member in members:
            client = member.client()
            try:
                return client.members()
            except (Refused, *LOST):
                pass
            finally:
                client.close()
        return None

    def members_listed(self):
        return self.any_client().members()

    def any_client(self):
        return next(m for m in self.members if m.alive()).client()

    def move_leader(self, to):
        for _ in range(10):
            leader = self.leader()
            if leader is to:
                return
            self.etcdctl("move-leader", f"{to.id():x}", members=[leader], check=False)
            wait_until(lambda: self._leader(), "a leader")
        assert self.leader() is to, f"{to.name} does not lead"

    def check_same(self, patience=PATIENCE, members=None):
        """Every member that runs has the same data, by HashKV, and the same list of members."""
        alive = [m for m in members or self.members if m.alive()]

        def same():
            clients = [member.client() for member in alive]
            try:
                revisions = {client.revision() for client in clients}
            except (Refused, *LOST):
                return None
            finally:
                for client in clients:
                    client.close()
            if len(revisions) != 1:
                return None
            # Through gRPC: behind the gateway's path there is another hash.
            result = self.etcdctl("endpoint", "hashkv", "--rev", str(*revisions), "-w", "json", members=alive,
                                  check=False)
            if result.returncode != 0:
                return None
            hashes = {found["Endpoint"]: (found["HashKV"].get("hash"), found["HashKV"].get("compact_revision"))
                      for found in json.loads(result.stdout)}
            assert len(set(hashes.values())) == 1, f"hashes differ at revision {revisions}: {hashes}"
            return True

        wait_until(same, "all members at the same revision", patience)
        lists = [sorted((m["ID"], m.get("name"), tuple(m["peerURLs"]), tuple(m.get("clientURLs", ())),
                         m.get("isLearner", False)) for m in member.client().members()) for member in alive]
        assert all(found == lists[0] for found in lists), f"member lists differ: {lists}"


def tail(path, lines=40):
    try:
        with open(path, errors="replace") as log:
            return "".join(log.readlines()[-lines:])
    except OSError as error:
        return f"{error}\n"


class Load:
    """Writers that put keys of their own, one after another, and readers of a counter that may never go back.

    Every put goes to some member and is tried again elsewhere, with the same key and value, until it is
    acknowledged. `stop` tells what was acknowledged; `check` that all of it is there.
    """

    def __init__(self, cluster, writers=8, readers=2, prefix="load/", timeout=1, value="x" * 100):
        self.cluster = cluster
        self.prefix = prefix
        self.timeout = timeout
        self.value = value
        self.stopping = False
        self.acknowledged = {}
        self.times = []
        self.bad = []
        self.counter = 0
        self.retries = 0
        self.reads = 0
        self.had_etcd = any(m.kind == "etcd" for m in cluster.members)
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._guard, args=(self._write, i)) for i in range(writers)]
        self.threads += [threading.Thread(target=self._guard, args=(self._read, i)) for i in range(readers)]
        if readers:
            self.threads.append(threading.Thread(target=self._guard, args=(self._count, 0)))
        for thread in self.threads:
            thread.daemon = True
            thread.start()

    def _guard(self, work, number):
        try:
            work(number)
        except Exception as error:  # pylint: disable=broad-except
            self.bad.append(repr(error))

    def _pick(self):
        return random.choice([m for m in self.cluster.members if not m.learner]).client()

    def _persist(self, act):
        """Does `act(client)` on some member until it works; None where the load was stopped meanwhile."""
        client = getattr(self.local(), "client", None)
        while not self.stopping:
            if client is None:
                client = self._pick()
            try:
                answer = act(client)
                self.local().client = client
                return answer
            except Refused as error:
                if not error.retriable() and not self._is_of_etcd(error):
                    raise
            except LOST:
                pass
            self.retries += 1
            client.close()
            client = None
            time.sleep(0.01)
        return None

    def _is_of_etcd(self, error):
        # What etcd says, with code 2, to a put while it gives its leadership away, and when it was removed.
        return self.had_etcd and error.message in ("raft proposal dropped", "raft: stopped")

    _locals = threading.local()

    def local(self):
        return self._locals

    def _write(self, number):
        self.local().client = None
        count = 0
        while not self.stopping:
            key = f"{self.prefix}{number}/{count}"
            revision = self._persist(lambda client: client.put(key, self.value, self.timeout))
            if revision is None:
                return
            count += 1
            with self.lock:
                self.acknowledged[key] = revision
                self.times.append(time.monotonic())

    def _count(self, _):
        self.local().client = None
        while not self.stopping:
            if self._persist(lambda client: self._raise_counter(client, self.counter + 1)) is None:
                return
            self.counter += 1

    def _raise_counter(self, client, value):
        # By comparison: a put that was given up, and done elsewhere, may still take effect much later.
        key = text64(self.prefix + "counter")
        compare = {"key": key, "target": "VALUE", "result": "EQUAL", "value": text64(str(value - 1))}
        if value == 1:
            compare = {"key": key, "target": "VERSION", "result": "EQUAL", "version": "0"}
        answer = client.call("kv/txn", {
            "compare": [compare], "success": [{"request_put": {"key": key, "value": text64(str(value))}}],
            "failure": [{"request_range": {"key": key}}]}, self.timeout)
        if not answer.get("succeeded"):
            kvs = answer["responses"][0]["response_range"].get("kvs", [])
            assert kvs and plain(kvs[0]["value"]) == str(value), f"the counter is {kvs}, not {value}"
        return True

    def _read(self, number):
        self.local().client = None
        while not self.stopping:
            if number % 2 == 0:
                self.local().client = None  # another member each time
            before = self.counter
            value = self._persist(lambda client: client.get(self.prefix + "counter", self.timeout) or "0")
            if value is None:
                return
            self.reads += 1
            if int(value) < before:
                self.bad.append(f"a linearizable read gave {value} after {before} was acknowledged")

    def wait_for(self, more):
        """Until so many more puts were acknowledged."""
        target = len(self.acknowledged) + more
        wait_until(lambda: len(self.acknowledged) >= target or self.bad, f"{more} more puts are acknowledged")
        assert not self.bad, self.bad

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a thread of the load hangs"
        assert not self.bad, self.bad
        return self

    def longest_gap(self, since=None):
        """The longest time, in seconds, in which no put was acknowledged, from `since` on."""
        times = [t for t in self.times if since is None or t >= since]
        if since is not None:
            times.insert(0, since)
        return max((b - a for a, b in zip(times, times[1:])), default=0.0)

    def check(self, members=None):
        """Everything that was acknowledged is there on every member that runs."""
        for member in members or self.cluster.members:
            if not member.alive():
                continue
            client = member.client()
            found = {}
            start = self.prefix
            end = self.prefix[:-1] + chr(ord(self.prefix[-1]) + 1)
            while True:
                answer = client.call("kv/range", {"key": text64(start), "range_end": text64(end), "limit": 5000}, 30)
                kvs = answer.get("kvs", [])
                for kv in kvs:
                    found[plain(kv["key"])] = int(kv["mod_revision"])
                if not answer.get("more"):
                    break
                start = plain(kvs[-1]["key"]) + "\0"
            lost = [key for key in self.acknowledged if key not in found]
            assert not lost, f"{member.name} lost {len(lost)} of {len(self.acknowledged)}: {lost[:5]}"
            client.close()


class Link:
    """Whose a connection is; its first request need not say so."""

    def __init__(self, target):
        self.source = ""  # an id in hex
        self.target = target

    def look(self, data):
        if not self.source:
            match = re.search(rb"x-server-from: *([0-9a-f]+)", data, re.IGNORECASE)
            if match:
                self.source = match.group(1).decode()


class Proxies:
    """TCP between members, which a test can hold up: who speaks is read from the requests' X-Server-From."""

    def __init__(self):
        self.blocked = set()  # pairs (from, to) of member names
        self.names = {}  # id in hex -> name
        self.change = threading.Condition()
        self.listeners = []
        self.closing = False

    def add(self, member):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = free_port()
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        self.listeners.append(listener)
        threading.Thread(target=self._accept, args=(listener, member), daemon=True).start()
        return port

    def know(self, member):
        self.names[f"{member.id():x}"] = member.name

    def cut_off(self, *members):
        """Nothing passes between these and the others any more."""
        inside = {m.name for m in members}
        with self.change:
            for a in self.names.values():
                for b in self.names.values():
                    if (a in inside) != (b in inside):
                        self.blocked.add((a, b))
            self.change.notify_all()

    def heal(self):
        with self.change:
            self.blocked.clear()
            self.change.notify_all()

    def close(self):
        with self.change:
            self.closing = True
            self.blocked.clear()
            self.change.notify_all()
        for listener in self.listeners:
            listener.close()

    def _accept(self, listener, member):
        while not self.closing:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, member), daemon=True).start()

    def _serve(self, connection, member):
        head = b""
        try:
            while b"\r\n\r\n" not in head and len(head) < 16384:
                data = connection.recv(65536)
                if not data:
                    connection.close()
                    return
                head += data
        except OSError:
            connection.close()
            return
        link = Link(member.name)
        link.look(head)
        if not self._wait_open(link):
            connection.close()
            return
        try:
            onward = socket.create_connection(("127.0.0.1", member.listen_port), timeout=5)
            onward.settimeout(None)
            onward.sendall(head)
        except OSError:
            connection.close()
            return
        for a, b in ((connection, onward), (onward, connection)):
            a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._copy, args=(a, b, link), daemon=True).start()

    def _copy(self, a, b, link):
        try:
            while True:
                data = a.recv(262144)
                link.look(data)
                if not data or not self._wait_open(link):
                    break
                b.sendall(data)
        except OSError:
            pass
        for end in (a, b):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def _open(self, link):
        return (self.names.get(link.source, "?"), link.target) not in self.blocked

    def _wait_open(self, link):
        """Holds up what must not pass; false where it never will."""
        if self._open(link):
            return True
        with self.change:
            self.change.wait_for(lambda: self.closing or self._open(link))
        return False  # a connection that lost time is gone, as one over a real gap would be


def run_tests(tests):
    """The tests that the command line names, or all; `--list` names them."""
    if sys.argv[1:] == ["--list"]:
        print("\n".join(test.__name__ for test in tests))
        return
    chosen = [test for test in tests if not sys.argv[1:] or test.__name__ in sys.argv[1:]]
    assert chosen, f"no such test: {sys.argv[1:]}"
    for test in chosen:
        begin = time.monotonic()
        test()
        print(f"{test.__name__}: {time.monotonic() - begin:.1f} s", flush=True)
