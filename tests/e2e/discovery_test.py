"""Members that find each other by a discovery service. usage: discovery_test.py TEST"""

import http.server
import os
import socketserver
import ssl
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from discovery import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position
from hostile import KINDS, Hostile  # pylint: disable=wrong-import-position
from listener import copy, listen  # pylint: disable=wrong-import-position

KVORUM3 = ("kvorum", "kvorum", "kvorum")
ETCD3 = ("etcd", "etcd", "etcd")
MIXED = ("kvorum", "etcd", "kvorum")


def members_of(kinds):
    cluster = Cluster([], ())
    for kind in kinds:
        flags = ["--cluster-version-limit=3.4"] if kind == "kvorum" and "etcd" in kinds else []
        flags += ["--discovery-fallback=exit"] if kind == "etcd" else []
        cluster.new_member(kind, flags=flags)
    return cluster


def bootstraps(service_kind, kinds, v3=False):
    with Service(service_kind) as service, members_of(kinds) as cluster:
        flags = service.v3_token(len(kinds)) if v3 else service.token(len(kinds))
        for member in cluster.members:
            member.start(found_by=flags)
        is_one_cluster(cluster)
        late = cluster.new_member("kvorum")
        late.start(found_by=flags)
        assert failed(late) == "failed to join discovery cluster (discovery: cluster is full)"
        cluster.members.remove(late)
        # What was found is in the log: nobody asks again.
        service.member.kill()
        for member in cluster.members:
            assert member.terminate() in (0, -signal.SIGTERM)
        for member in cluster.members:
            member.start(found_by=flags)
        is_one_cluster(cluster)
        for member in cluster.members:
            if member.kind == "kvorum":
                wal = f"{member.directory}/member/wal"
                assert said(member, "discovery token ignored since a cluster has already been initialized. "
                                    f'Valid log found at "{wal}"'), member.log()[-2000:]


def three_members_by_our_service():
    bootstraps("kvorum", KVORUM3)


def debians_etcd_by_our_service():
    bootstraps("kvorum", ETCD3)


def three_members_by_etcds_key_space():
    bootstraps("etcd", KVORUM3)


def members_of_both_kinds_by_our_service():
    bootstraps("kvorum", MIXED)


def members_of_both_kinds_by_etcds_key_space():
    bootstraps("etcd", MIXED)


def three_members_by_our_service_of_the_v3_protocol():
    bootstraps("kvorum", KVORUM3, v3=True)


def three_members_by_etcds_service_of_the_v3_protocol():
    bootstraps("etcd", KVORUM3, v3=True)


def tokens_are_of_the_whole_service():
    with Cluster([], ()) as cluster:
        for _ in range(3):
            cluster.new_member("kvorum", flags=["--serve-discovery"])
        cluster.start()
        for member in cluster.members:
            with urllib.request.urlopen(f"http://{member.endpoint}/new?size=5", timeout=PATIENCE) as response:
                url = response.read().decode()
            assert url.startswith(f"http://{member.endpoint}/v2/keys{REGISTRY}/"), url
            token = url.rsplit("/", 1)[1]
            for other in cluster.members:
                size = v2(other).get(f"{REGISTRY}/{token}/_config/size", quorum=True)
                assert size.node.get("value") == "5", size
                assert 0 < v2(other).get(f"{REGISTRY}/{token}").node["ttl"] <= 7 * 24 * 3600


def the_service_is_switched_on():
    with Cluster(["kvorum"]) as cluster:
        cluster.start()
        try:
            urllib.request.urlopen(f"http://{cluster.members[0].endpoint}/new", timeout=PATIENCE)
            raise AssertionError("there is a service")
        except urllib.error.HTTPError as error:
            assert error.code == 404, error
        off = cluster.new_member("kvorum", flags=["--serve-discovery", "--enable-v2=false"])
        off.start()
        assert "--serve-discovery needs the v2 API" in failed(off)


def duplicates_are_told():
    with Service() as service, members_of(KVORUM3) as cluster:
        first, second, third = cluster.members
        flags = service.token(2)
        first.start(found_by=flags)
        waits_for_others(first)
        # The data directory is lost, the registration is not.
        begin = time.monotonic()
        assert first.terminate() == -signal.SIGTERM
        assert time.monotonic() - begin < 5, "the waiting did not end at once"
        os.unlink(first.log_path)
        first.start(found_by=flags)
        assert failed(first) == (f'member "{first.name}" has previously registered with discovery service token '
                                 f"({flags[1]}).")
        assert "or use a new discovery token if the previous bootstrap failed." in first.log()
        flags = service.token(2)
        third.name = second.name
        second.start(found_by=flags)
        waits_for_others(second)
        third.start(found_by=flags)
        for member in (second, third):
            assert failed(member) == f"member with duplicated name has registered with discovery service token({flags[1]})."
        flags = service.v3_token(2)  # where the last of one id counts
        os.unlink(second.log_path)
        second.start(found_by=flags)
        waits_for_others(second)
        second.kill()
        os.unlink(second.log_path)
        second.start(found_by=flags)
        waits_for_others(second)


class Page(http.server.BaseHTTPRequestHandler):
    """Answers everything in the same way."""

    def do_GET(self):  # pylint: disable=invalid-name
        body = self.server.body
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_GET

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass


class PageServer:
    def __init__(self, status, body, handler=Page):
        self.port = free_port()

        class Threaded(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
        self.server = Threaded(("127.0.0.1", self.port), handler)
        self.server.status = status
        self.server.body = body
        self.server.asked = []
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def each_mistake_is_one_line():
    with Service() as service, Cluster([], ()) as cluster:
        keys = f"http://{service.member.endpoint}/v2/keys"
        client = v2(service.member)
        for name, size in (("word", "x"), ("none", "0"), ("negative", "-1"), ("huge", "9" * 30)):
            assert client.put(f"{REGISTRY}/{name}/_config/size", size).status == 201
        assert client.put(f"{REGISTRY}/sizeless/x", "y").status == 201
        assert client.put(f"{REGISTRY}/values/_config/size", "2").status == 201
        assert client.put(f"{REGISTRY}/values/1", "nonsense").status == 201
        assert client.put(f"{REGISTRY}/urls/_config/size", "2").status == 201

        def refused(*flags, wrap=True):
            member = cluster.new_member("kvorum")
            member.start(found_by=list(flags))
            error = failed(member)
            cluster.members.remove(member)
            if not wrap:
                return error
            match = re.fullmatch(r"failed to join discovery cluster \((.*)\)", error)
            assert match, error
            return match.group(1)

        for name in ("word", "none", "negative", "huge"):
            assert refused("--discovery", f"{keys}{REGISTRY}/{name}") == "discovery: size key is bad"
        unknown = refused("--discovery", f"{keys}{REGISTRY}/unknown")
        assert re.fullmatch(rf"100: Key not found \({REGISTRY}/unknown\) \[\d+\]", unknown), unknown
        assert refused("--discovery", f"{keys}{REGISTRY}/sizeless").startswith("100: Key not found")
        assert refused("--discovery", f"{keys}{REGISTRY}/values") == "discovery: invalid URL"
        assert refused("--discovery", f"http://{service.member.endpoint}/version") == "discovery: bad discovery endpoint"
        assert "unsupported protocol scheme" in refused("--discovery", "ftp://127.0.0.1/token")
        assert "missing protocol scheme" in refused("--discovery", "token")
        assert refused("--discovery", f"{keys}{REGISTRY}/urls", "--discovery-proxy", "::bad") == \
            'invalid proxy address "::bad": parse "::bad": missing protocol scheme'
        page = PageServer(200, b"<html>Hello</html>")
        assert refused("--discovery", f"http://127.0.0.1:{page.port}/token") == "discovery: bad discovery endpoint"
        page.close()

        # The other member's URLs are this one's.
        member = cluster.new_member("kvorum")
        assert client.put(f"{REGISTRY}/urls/1", f"other={member.peer_url}").status == 201
        member.start(found_by=["--discovery", f"{keys}{REGISTRY}/urls"])
        assert "has duplicate url" in failed(member)

        several = "multiple discovery or bootstrap flags are set."
        token = ["--discovery", f"{keys}{REGISTRY}/word"]
        v3 = ["--discovery-token=t", f"--discovery-endpoints={service.member.endpoint}"]
        assert several in refused(*token, "--initial-cluster=a=http://a:1", wrap=False)
        assert several in refused(*token, *v3, wrap=False)
        assert refused(*token, "--initial-cluster-state=existing", wrap=False) == \
            "discovery URL should not be set when joining existing initial cluster"
        assert "both v2 discovery settings" in refused(*v3, "--discovery-proxy=http://a:1", wrap=False)
        assert "can't be configured as" in refused(*v3, "--discovery-fallback=proxy", wrap=False)
        assert refused("--discovery-token=t", wrap=False) == \
            "both --discovery-token and --discovery-endpoints must be set"
        assert "must both be set" in refused(*v3, "--discovery-user=u", wrap=False)
        assert refused(*v3, "--discovery-request-timeout=0s", wrap=False) == \
            "--discovery-request-timeout must be >0 (set to 0s)"
        assert "--proxy=readonly and v3 discovery settings" in refused(*v3, "--proxy=readonly", wrap=False)

        assert refused(*v3, "--discovery-dial-timeout=0s") == "discovery: size key not found"
        service.etcdctl("put", f"{REGISTRY}/t/_config/size", "x")
        assert refused(*v3) == "discovery: size key is bad"
        service.etcdctl("put", f"{REGISTRY}/t/_config/size", "2")
        service.etcdctl("put", f"{REGISTRY}/t/members/1", "a=nonsense")
        assert refused(*v3) == "discovery: invalid peer URL"
        assert refused(*v3, "--discovery-cert=a.pem") == "KeyFile and CertFile must both be present[key: , cert: a.pem]"


def backs_off(flags_of, retry):
    with Service() as service, Cluster(["kvorum"]) as cluster:
        member = cluster.members[0]
        flags = flags_of(service)
        assert service.member.terminate() == -signal.SIGTERM
        member.start(found_by=flags)
        for time_text in ("2s", "4s"):
            wait_until(lambda time_text=time_text: said(member, retry, reason="cluster status check", backoff=time_text),
                       f"a wait of {time_text}")
        service.member.start()
        is_one_cluster(cluster)


def a_service_that_is_not_there_is_tried_again():
    backs_off(lambda service: service.token(1), "retry connecting to discovery service")


def a_service_of_the_v3_protocol_that_is_not_there_is_tried_again():
    backs_off(lambda service: service.v3_token(1) + ["--discovery-request-timeout=500ms"],
              "retry connecting to discovery service")


def a_service_of_the_v3_protocol_that_talks_nonsense_is_tried_again():
    """A member for each kind of it; the services behind come to their senses."""
    with Service() as service, Cluster([], ()) as cluster:
        waiting = []
        for kind in KINDS:
            hostile = Hostile(service.member.endpoint, kind)
            member = cluster.new_member("kvorum")
            flags = service.v3_token(1)
            member.start(found_by=[*flags[:3], hostile.address, "--discovery-request-timeout=1s"])
            waiting.append((kind, hostile, member))
        for kind, hostile, member in waiting:
            wait_until(lambda member=member: said(member, "retry connecting to discovery service"), f"another try: {kind}")
            assert hostile.asked > 0, kind
            hostile.turn(None)
        for kind, hostile, member in waiting:
            wait_until(member.serves, f"{member.name} found its service: {kind}")
            errors = {line["error"] for line in lines_of(member) if line.get("msg", "").startswith("retry connecting")}
            print(f"{kind}: {sorted(errors)}")
            hostile.close()


def members_wait_while_the_service_is_away():
    for v3 in (False, True):
        with Service() as service, members_of(KVORUM3[:2]) as cluster:
            flags = service.v3_token(2) if v3 else service.token(2)
            first, second = cluster.members
            first.start(found_by=flags)
            waits_for_others(first)
            service.member.kill()
            wait_until(lambda: said(first, "retry connecting to discovery service", reason="waiting for other nodes"),
                       "the first one sees that the service is gone")
            service.member.start()
            service.wait_ready()
            second.start(found_by=flags)
            is_one_cluster(cluster)


class ForwardProxy(http.server.BaseHTTPRequestHandler):
    """An HTTP proxy that passes one request a connection on."""

    def do_GET(self):  # pylint: disable=invalid-name
        self.server.asked.append(f"{self.command} {self.path}")
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        headers = {name: self.headers[name] for name in ("Content-Type",) if name in self.headers}
        request = urllib.request.Request(self.path, data=body or None, headers=headers, method=self.command)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                status, names, text = response.status, response.getheaders(), response.read()
        except urllib.error.HTTPError as error:
            status, names, text = error.code, error.headers.items(), error.read()
        self.send_response(status)
        for name, value in names:
            if name.lower() not in ("transfer-encoding", "content-length", "connection", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_PUT = do_GET

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass


def members_ask_through_a_proxy():
    with Service() as service, members_of(KVORUM3[:2]) as cluster:
        proxy = PageServer(0, b"", ForwardProxy)
        flags = service.token(2)
        token = flags[1]
        flags += ["--discovery-proxy", f"127.0.0.1:{proxy.port}"]
        for member in cluster.members:
            member.start(found_by=flags)
        is_one_cluster(cluster)
        for member in cluster.members:
            assert f"PUT {token}/{member.id():x}?prevExist=false" in proxy.server.asked, proxy.server.asked
        assert all(f" {token}" in line for line in proxy.server.asked), proxy.server.asked
        proxy.close()


class TlsFront:
    """Takes TLS connections, with a certificate of an authority of its own, and passes their bytes on. It is an HTTP
    proxy, too, that opens tunnels to itself."""

    def __init__(self, folder, port):
        self.folder = folder
        self.to_port = port
        self.tunnels = []
        self.authority = self._file("ca.pem")
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                      "2", "-subj", "/CN=authority", "-keyout", self._file("ca.key"), "-out", self.authority)
        for name in ("server", "client"):
            self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                          f"/CN={name}", "-keyout", self._file(f"{name}.key"), "-out", self._file(f"{name}.csr"))
            with open(self._file(f"{name}.ext"), "w", encoding="utf-8") as file:
                file.write("subjectAltName=IP:127.0.0.1\n")
            self._openssl("x509", "-req", "-in", self._file(f"{name}.csr"), "-CA", self.authority, "-CAkey",
                          self._file("ca.key"), "-CAcreateserial", "-days", "2", "-extfile", self._file(f"{name}.ext"),
                          "-out", self._file(f"{name}.pem"))
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(self._file("server.pem"), self._file("server.key"))
        self.tls.set_alpn_protocols(["h2", "http/1.1"])
        self.port = free_port()
        self.listener = listen(self._serve, self.port)

    def _file(self, name):
        return os.path.join(self.folder, name)

    @staticmethod
    def _openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    def demand_certificates(self):
        self.tls.verify_mode = ssl.CERT_REQUIRED
        self.tls.load_verify_locations(self.authority)
        return ["--discovery-cert", self._file("client.pem"), "--discovery-key", self._file("client.key")]

    def close(self):
        self.listener.close()

    def _serve(self, connection):
        try:
            if connection.recv(1, socket.MSG_PEEK) == b"C":
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += connection.recv(1)
                self.tunnels.append(head.decode().splitlines()[0])
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            inside = self.tls.wrap_socket(connection, server_side=True)
            onward = socket.create_connection(("127.0.0.1", self.to_port))
            threading.Thread(target=copy, args=(onward, inside), daemon=True).start()
            copy(inside, onward)
        except OSError:
            connection.close()


def members_ask_over_tls():
    with Service() as service, members_of(KVORUM3[:2]) as cluster:
        front = TlsFront(service.folder, service.member.client_port)
        flags = service.token(2)
        url = flags[1].replace(f"http://{service.member.endpoint}", f"https://127.0.0.1:{front.port}")
        flags = ["--discovery", url, "--discovery-proxy", f"http://127.0.0.1:{front.port}"]
        os.environ["SSL_CERT_FILE"] = front.authority
        cluster.members[0].start(found_by=flags[:2])
        cluster.members[1].start(found_by=flags)
        del os.environ["SSL_CERT_FILE"]
        is_one_cluster(cluster)
        assert set(front.tunnels) == {f"CONNECT 127.0.0.1:{front.port} HTTP/1.1"}, front.tunnels
        stranger = cluster.new_member("kvorum")  # who does not know the authority
        stranger.start(found_by=flags[:2])
        wait_until(lambda: "failed to verify certificate" in stranger.log(), "the certificate is looked at")
        assert stranger.terminate() == -signal.SIGTERM
        front.close()


def members_ask_over_tls_by_the_v3_protocol():
    with Service() as service, members_of(KVORUM3[:2]) as cluster:
        front = TlsFront(service.folder, service.member.client_port)
        own = front.demand_certificates()
        flags = service.v3_token(2)
        flags[3] = f"https://127.0.0.1:{front.port}"
        stranger = cluster.new_member("kvorum")
        stranger.start(found_by=flags + own)
        wait_until(lambda: "failed to verify certificate" in stranger.log(), "the certificate is looked at")
        assert stranger.terminate() == -signal.SIGTERM
        cluster.members.remove(stranger)
        cluster.members[0].start(found_by=flags + own + ["--discovery-cacert", front.authority])
        # Without a scheme: TLS because it is asked for.
        flags[3] = f"127.0.0.1:{front.port}"
        cluster.members[1].start(found_by=flags + own + ["--discovery-insecure-transport=false",
                                                         "--discovery-insecure-skip-tls-verify"])
        is_one_cluster(cluster)
        front.close()


def one_more_becomes_a_proxy():
    with Service() as service, members_of(KVORUM3) as cluster:
        flags = service.token(3)
        for member in cluster.members:
            member.start(found_by=flags)
        is_one_cluster(cluster)
        more = cluster.new_member("kvorum")
        more.start(found_by=flags + ["--discovery-fallback=proxy"])
        wait_until(lambda: said(more, "discovery cluster is full, falling back to proxy"), "the fall back")
        wait_until(more.serves, "the proxy serves")
        assert v2(more).put("/through", "the proxy").status == 201
        assert v2(cluster.members[0]).get("/through", quorum=True).node["value"] == "the proxy"
        assert os.listdir(more.directory) == ["proxy"], os.listdir(more.directory)
        # It stays one, also without the service.
        assert more.terminate() == -signal.SIGTERM
        service.member.kill()
        more.start(found_by=flags + ["--discovery-fallback=proxy"])
        wait_until(more.serves, "the proxy serves again")
        assert os.listdir(more.directory) == ["proxy"]


run_tests([
    members_ask_over_tls,
    members_ask_over_tls_by_the_v3_protocol,
    one_more_becomes_a_proxy,
    three_members_by_our_service,
    debians_etcd_by_our_service,
    three_members_by_etcds_key_space,
    members_of_both_kinds_by_our_service,
    members_of_both_kinds_by_etcds_key_space,
    three_members_by_our_service_of_the_v3_protocol,
    three_members_by_etcds_service_of_the_v3_protocol,
    tokens_are_of_the_whole_service,
    the_service_is_switched_on,
    duplicates_are_told,
    each_mistake_is_one_line,
    a_service_that_is_not_there_is_tried_again,
    a_service_of_the_v3_protocol_that_is_not_there_is_tried_again,
    a_service_of_the_v3_protocol_that_talks_nonsense_is_tried_again,
    members_wait_while_the_service_is_away,
    members_ask_through_a_proxy,
])
