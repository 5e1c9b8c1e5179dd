"""`kvorum gateway start` before clusters of real processes. usage: gateway_test.py TEST"""

import collections
import os
import ssl
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from cluster import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position
from dnsmasq import Dns, host, srv  # pylint: disable=wrong-import-position

KVORUM3 = ("kvorum", "kvorum", "kvorum")


class Gateway:
    """One gateway process."""

    def __init__(self, *flags, port=None):
        self.client_port = port or free_port()
        self.folder = tempfile.mkdtemp(prefix="kvorum-gateway-")
        self.log_path = os.path.join(self.folder, "log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [KVORUM, "gateway", "start", f"--listen-addr=127.0.0.1:{self.client_port}", *flags],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(lambda: "ready to proxy client requests" in self.log() or self.process.poll() is not None, "ready")
        assert self.process.poll() is None, self.log()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is not None:
            sys.stderr.write(f"---- gateway\n{tail(self.log_path)}")
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.client_port}"

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def lines(self, message):
        """Log lines with this message."""
        found = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in found if line["msg"] == message]

    def client(self):
        return Client(self.client_port)

    def etcdctl(self, *arguments, version="3"):
        endpoints = self.endpoint if version == "3" else f"http://{self.endpoint}"
        result = subprocess.run(["etcdctl", "--endpoints", endpoints, *arguments],
                                env=dict(os.environ, ETCDCTL_API=version), capture_output=True, text=True,
                                timeout=PATIENCE, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout


class LoadThrough(Load):
    """The load by way of one gateway."""

    def __init__(self, cluster, gateway, **options):
        self.gateway = gateway
        super().__init__(cluster, **options)

    def _pick(self):
        return self.gateway.client()


def cluster_of(kinds):
    return Cluster(kinds, ["--enable-v2"])


def endpoints_flag(cluster):
    return "--endpoints=" + ",".join(m.endpoint for m in cluster.members)


def both_etcdctls_work_through_it():
    with cluster_of(KVORUM3) as cluster:
        cluster.start()
        with Gateway(endpoints_flag(cluster)) as gateway:
            for i in range(6):
                gateway.etcdctl("put", f"k{i}", f"v{i}")
                assert gateway.etcdctl("get", f"k{i}") == f"k{i}\nv{i}\n"
                gateway.etcdctl("set", f"/k{i}", f"v{i}", version="2")
                assert gateway.etcdctl("get", f"/k{i}", version="2") == f"v{i}\n"
            watch = subprocess.Popen(["etcdctl", "--endpoints", gateway.endpoint, "watch", "w", "--rev=1"],
                                     env=dict(os.environ, ETCDCTL_API="3"), stdout=subprocess.PIPE, text=True)
            try:
                gateway.etcdctl("put", "w", "seen")
                assert [watch.stdout.readline() for _ in range(3)] == ["PUT\n", "w\n", "seen\n"]
            finally:
                watch.kill()
                watch.wait()
            assert len(gateway.etcdctl("member", "list").splitlines()) == 3
            (ready,) = gateway.lines("ready to proxy client requests")
            assert ready["endpoints"] == [m.endpoint for m in cluster.members], ready
            gateway.process.terminate()
            assert gateway.process.wait(PATIENCE) == -signal.SIGTERM


def nothing_acknowledged_is_lost_while_members_die():
    with cluster_of(KVORUM3) as cluster:
        cluster.start()
        with Gateway(endpoints_flag(cluster), "--retry-delay=200ms") as gateway:
            load = LoadThrough(cluster, gateway)
            load.wait_for(200)
            for _ in range(2):
                for member in cluster.members:
                    member.kill()
                    load.wait_for(100)
                    member.start(cluster.initial_cluster())
                    cluster.wait_ready([member])
                    load.wait_for(100)
            load.stop()
            cluster.check_same()
            load.check()
            deactivated = {line["address"] for line in gateway.lines("deactivated endpoint")}
            assert deactivated, gateway.log()
            activated = {line["address"] for line in gateway.lines("activated")}
            wait_until(lambda: deactivated <= {line["address"] for line in gateway.lines("activated")} or None,
                       f"all of {deactivated} are activated, not only {activated}")
            print(f"{len(load.acknowledged)} writes acknowledged, {load.retries} retries, {load.reads} reads")


class Servers:
    """Listeners that say their name to whoever connects."""

    def __init__(self, *names):
        self.ports = {}
        self.listeners = {}
        self.said = collections.Counter()
        for name in names:
            self.ports[name] = free_port()
            self.open(name)

    def open(self, name):
        listener = socket.create_server(("127.0.0.1", self.ports[name]), backlog=128)
        self.listeners[name] = listener
        threading.Thread(target=self._serve, args=(listener, name), daemon=True).start()

    @staticmethod
    def _serve(listener, name):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                connection.sendall(name.encode())
            except OSError:
                pass
            connection.close()

    def close(self, *names):
        for name in names or list(self.listeners):
            listener = self.listeners.pop(name)
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread, too
            listener.close()


def asked(gateway, times):
    """Who answered."""
    answers = collections.Counter()
    for _ in range(times):
        with socket.create_connection(("127.0.0.1", gateway.client_port), timeout=PATIENCE) as connection:
            said = b""
            try:
                while data := connection.recv(100):
                    said += data
            except ConnectionResetError:
                pass
        answers[said.decode()] += 1
    return answers


def priorities_and_weights_of_records_count():
    servers = Servers("heavy", "light", "backup")
    records = [host("s.test")]
    for name, priority, weight in (("heavy", 1, 30), ("light", 1, 10), ("backup", 2, 50)):
        records.append(srv("etcd-client", "gw.test", "s.test", servers.ports[name], priority, weight))
    with Dns(records) as dns, Gateway("--discovery-srv=gw.test", f"--dns-server={dns.address}",
                                      "--insecure-discovery", "--retry-delay=100ms") as gateway:
        (found,) = gateway.lines("discovered cluster from SRV")
        assert sorted(found["endpoints"]) == sorted(f"http://s.test.:{port}" for port in servers.ports.values())
        answers = asked(gateway, 400)
        assert set(answers) == {"heavy", "light"} and 240 < answers["heavy"] < 360, answers  # 300 are expected
        servers.close("heavy", "light")
        assert asked(gateway, 20) == {"backup": 20}
        servers.close("backup")
        assert asked(gateway, 3) == {"": 3}
        servers.open("light")
        wait_until(lambda: asked(gateway, 1) == {"light": 1}, "the one that is back serves")
        assert asked(gateway, 20) == {"light": 20}
    servers.close()


def the_cluster_of_a_domain_is_reached():
    with cluster_of(KVORUM3) as cluster:
        cluster.start()
        records = [host("m.test")]
        records += [srv("etcd-client-blue", "d.test", "m.test", m.client_port) for m in cluster.members]
        with Dns(records) as dns:
            flags = ["--discovery-srv=d.test", f"--dns-server={dns.address}", "--insecure-discovery"]
            refused_with(flags, "dns lookup errors: lookup _etcd-client-ssl._tcp.d.test on "
                         f"{dns.address}: no such host and lookup _etcd-client._tcp.d.test on {dns.address}: "
                         "no such host")
            with Gateway(*flags, "--discovery-srv-name=blue") as gateway:
                gateway.etcdctl("put", "k", "v")
                assert gateway.etcdctl("get", "k") == "k\nv\n"


def refused_with(flags, text):
    """The gateway does not start and says why in one line."""
    result = subprocess.run([KVORUM, "gateway", "start", "--listen-addr=127.0.0.1:" + str(free_port()), *flags],
                            capture_output=True, text=True, timeout=PATIENCE, check=False)
    said = [line for line in (result.stdout + result.stderr).splitlines() if not line.startswith("{")]
    assert result.returncode == 1 and said == [text], (result.returncode, said)


def endpoints_that_are_not_trusted_are_left_out():
    """Of plain records, and of servers that speak no TLS: the list of the flag is used instead."""
    servers = Servers("listed", "plain")
    records = [host("s.test"), srv("etcd-client-ssl", "gw.test", "s.test", servers.ports["plain"]),
               srv("etcd-client", "gw.test", "s.test", servers.ports["plain"])]
    with Dns(records) as dns, Gateway("--discovery-srv=gw.test", f"--dns-server={dns.address}",
                                      f"--endpoints=127.0.0.1:{servers.ports['listed']}") as gateway:
        (line,) = gateway.lines("failed to validate discovered endpoints")
        assert line["endpoints"] == [], line
        assert f'"http://s.test.:{servers.ports["plain"]}" is insecure' in line["error"], line
        assert f'"https://s.test.:{servers.ports["plain"]}" failed to dial (' in line["error"], line
        assert asked(gateway, 3) == {"listed": 3}
    servers.close()


def certificate(folder, name):
    """A certificate of its own authority for a name: (certificate, key)."""
    files = [os.path.join(folder, f"{name}.{kind}") for kind in ("pem", "key")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={name}",
                    "-addext", f"subjectAltName=DNS:{name}", "-out", files[0], "-keyout", files[1]], check=True,
                   capture_output=True)
    return files


def secure_endpoints_that_are_trusted_are_taken():
    """By the certificate of the domain or of the target; one of somebody else's is left out."""
    with tempfile.TemporaryDirectory() as folder:
        listeners = {}
        for name in ("gw.test", "s.test", "other.test"):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate(folder, name))
            listeners[name] = context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True)
            threading.Thread(target=greet, args=(listeners[name], name), daemon=True).start()
        trusted = os.path.join(folder, "trusted")
        with open(trusted, "w") as out:
            for name in listeners:
                with open(os.path.join(folder, f"{name}.pem")) as file:
                    out.write(file.read())
        ports = {name: listener.getsockname()[1] for name, listener in listeners.items()}
        records = [host("s.test")] + [srv("etcd-client-ssl", "gw.test", "s.test", port) for port in ports.values()]
        with Dns(records) as dns, Gateway("--discovery-srv=gw.test", f"--dns-server={dns.address}",
                                          f"--trusted-ca-file={trusted}") as gateway:
            (line,) = gateway.lines("failed to validate discovered endpoints")
            good = sorted(f"https://s.test.:{ports[name]}" for name in ("gw.test", "s.test"))
            assert sorted(line["endpoints"]) == good, line
            assert f'"https://s.test.:{ports["other.test"]}" failed to dial (' in line["error"], line
            context = ssl.create_default_context(cafile=trusted)
            context.check_hostname = False
            said = set()
            for _ in range(4):
                with socket.create_connection(("127.0.0.1", gateway.client_port), timeout=PATIENCE) as plain_socket:
                    with context.wrap_socket(plain_socket) as client:
                        said.add(client.recv(100).decode())
            assert said == {"gw.test", "s.test"}, said


def greet(listener, name):
    while True:
        try:
            connection, _ = listener.accept()
            connection.sendall(name.encode())
            connection.close()
        except ssl.SSLError:
            continue
        except OSError:
            return


def bad_settings_are_refused():
    refused_with(["--listen-addr=nonsense"], "failed to validate listen address: nonsense")
    refused_with(["--listen-addr=nowhere.invalid:1"], "failed to resolve listen host: nowhere.invalid")
    refused_with(["--endpoints=nowhere.invalid:1"], "failed to resolve endpoint host: nowhere.invalid")
    refused_with(["--endpoints="], "no endpoints found")
    refused_with(["--endpoints=127.0.0.1:1,x"], 'error parsing endpoint "x"')
    port = free_port()
    refused_with([f"--listen-addr=localhost:{port}", f"--endpoints=http://127.0.0.1:{port}"],
                 f"SRV or endpoint (127.0.0.1:{port}->127.0.0.1:{port}) should not resolve to the gateway listen addr "
                 f"(localhost:{port})")
    with socket.create_server(("127.0.0.1", port)):
        refused_with([f"--listen-addr=127.0.0.1:{port}"],
                     f"listen tcp 127.0.0.1:{port}: bind: address already in use")


def the_command_line_is_etcds():
    def run(*arguments):
        result = subprocess.run([KVORUM, "gateway", *arguments], capture_output=True, text=True, timeout=PATIENCE,
                                check=False)
        return result.returncode, result.stdout, result.stderr
    for arguments in ([], ["help"], ["-h"], ["nonsense"]):
        code, out, error = run(*arguments)
        assert code == 0 and out.startswith("gateway related command\n\nUsage:\n") and not error, (out, error)
    code, out, error = run("start", "--help")
    assert code == 0 and out.startswith("start the gateway\n\nUsage:\n  kvorum gateway start [flags]\n") and not error
    for flag in ("listen-addr", "endpoints", "discovery-srv", "discovery-srv-name", "insecure-discovery", "retry-delay",
                 "trusted-ca-file", "dns-server"):
        assert f"--{flag} " in out, flag
    for arguments, text in ((["--x"], "unknown flag: --x"), (["start", "--x"], "unknown flag: --x"),
                            (["start", "--listen-addr"], "flag needs an argument: --listen-addr"),
                            (["start", "--retry-delay=x"],
                             'invalid argument "x" for "--retry-delay" flag: time: invalid duration "x"'),
                            (["start", "--insecure-discovery=x"], 'invalid argument "x" for "--insecure-discovery" '
                             'flag: strconv.ParseBool: parsing "x": invalid syntax')):
        code, out, error = run(*arguments)
        assert code == 1 and not out and error.startswith(f"Error: {text}\nUsage:\n"), (arguments, out, error)
        assert error.endswith(f"\n{text}\n"), error


def it_lives_through_a_lack_of_descriptors():
    """With 200 descriptors and 300 clients: the others wait their turn, and nothing is given up."""
    with Cluster(["kvorum"]) as cluster:
        cluster.start()
        limited = ["prlimit", "--nofile=200:200", KVORUM]
        port = free_port()
        process = subprocess.Popen([*limited, "gateway", "start", f"--listen-addr=127.0.0.1:{port}",
                                    f"--endpoints={cluster.members[0].endpoint}"], stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: connects(port), "the gateway listens")
            clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
            request = b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            for client in clients:
                client.sendall(request)
            for client in clients:
                client.settimeout(PATIENCE)
                answer = b""
                while data := client.recv(4096):
                    answer += data
                assert answer.startswith(b"HTTP/1.1 200"), answer
                client.close()
            assert process.poll() is None
        finally:
            process.kill()
            process.wait()


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    except OSError:
        return False


TESTS = [
    both_etcdctls_work_through_it, nothing_acknowledged_is_lost_while_members_die,
    priorities_and_weights_of_records_count, the_cluster_of_a_domain_is_reached,
    endpoints_that_are_not_trusted_are_left_out, secure_endpoints_that_are_trusted_are_taken, bad_settings_are_refused, the_command_line_is_etcds,
    it_lives_through_a_lack_of_descriptors
]

if __name__ == "__main__":
    run_tests(TESTS)
