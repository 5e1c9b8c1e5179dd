"""TLS of members: certificates, who may connect, and clusters that are encrypted. usage: tls_test.py TEST"""

import os
import ssl
import stat
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from cluster import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position
from secure import LOCAL, SecureCluster, SecureMember  # pylint: disable=wrong-import-position
from certificates import Authority  # pylint: disable=wrong-import-position

KVORUM3 = ("kvorum", "kvorum", "kvorum")
CERTIFICATE_ALONE = SecureCluster.CLIENT_TLS[:2]
AUTO = ("--auto-tls",)
PEER_AUTO = ("--peer-auto-tls",)


def one(*client_tls, flags=()):
    """A member alone, with TLS for clients; started."""
    cluster = SecureCluster(["kvorum"], client_tls or SecureCluster.CLIENT_TLS, flags=flags)
    cluster.start()
    return cluster


def logged(member, *texts):
    """Waits for a line of the log with all of these."""
    return wait_until(lambda: next((line for line in member.log().splitlines() if all(t in line for t in texts)), None),
                      f"{texts} in the log of {member.name}")


def serves_everything(cluster):
    member = cluster.members[0]
    url = f"https://{member.endpoint}"
    assert '"etcdserver"' in cluster.curl(url + "/version")
    for version in ("--http1.1", "--http2"):
        assert '"health":"true"' in cluster.curl(url + "/health", version).replace(" ", "")
    assert "etcd_server_has_leader 1" in cluster.curl(url + "/metrics")
    assert '"value":"two"' in cluster.curl(url + "/v2/keys/one", "-XPUT", "-dvalue=two")
    member.client().put("key", "value")
    assert cluster.etcdctl("get", "key") == "key\nvalue\n"
    assert "is healthy" in subprocess.run(
        ["etcdctl", *cluster.etcdctl_flags, "--endpoints", url, "endpoint", "health"], capture_output=True, text=True,
        env=dict(os.environ, ETCDCTL_API="3"), check=False).stderr
    shown = [] if len(cluster.etcdctl_flags) == 1 else [f"--cert-file={cluster.path('client.pem')}",
                                                        f"--key-file={cluster.path('client.key')}"]
    result = subprocess.run(["etcdctl", f"--ca-file={cluster.authority.file}", *shown, "--endpoints", url, "get", "one"],
                            env=dict(os.environ, ETCDCTL_API="2"), capture_output=True, text=True, check=False)
    assert result.stdout == "two\n", result.stdout + result.stderr


def clients_must_show_a_certificate():
    with one() as cluster:
        serves_everything(cluster)
        (member,) = cluster.members
        url = f"https://{member.endpoint}/version"
        assert "failed" in cluster.curl(url, certificate=None)
        logged(member, "rejected connection on client endpoint", '"error":"tls: client didn\'t provide a certificate"')
        Authority(cluster.folder, "other").make("stranger")
        assert "failed" in cluster.curl(url, certificate="stranger")
        logged(member, "rejected connection on client endpoint", "certificate signed by unknown authority",
               '"ip-addresses":[],"dns-names":[]')
        assert "failed" in cluster.curl(url.replace("https", "http"))
        logged(member, "first record does not look like a TLS handshake")
        assert "starting with client TLS" in member.log() and "starting with peer TLS" in member.log()
        logged(member, "serving client traffic securely", '"traffic":"grpc+http"')
        assert "insecurely" not in member.log()
        # A certificate for another address is one all the same: only members are looked at so.
        cluster.authority.make("elsewhere", "IP:10.1.2.3")
        assert "etcdserver" in cluster.curl(url, certificate="elsewhere")


def a_certificate_alone_lets_every_client_in():
    with one(*CERTIFICATE_ALONE) as cluster:
        cluster.trust(certificate=None)
        serves_everything(cluster)


def an_authority_alone_asks_for_certificates():
    with one(*CERTIFICATE_ALONE, "--trusted-ca-file={folder}/ca.pem") as cluster:
        assert "failed" in cluster.curl(f"https://{cluster.members[0].endpoint}/version", certificate=None)


def revoked_clients_are_refused():
    with one(*SecureCluster.CLIENT_TLS, "--client-crl-file={folder}/ca.crl") as cluster:
        (member,) = cluster.members
        url = f"https://{member.endpoint}/version"
        cluster.authority.make("thief", "DNS:thief.test")
        assert "etcdserver" in cluster.curl(url, certificate="thief")
        cluster.authority.revoke("thief")
        assert "failed" in cluster.curl(url, certificate="thief")
        logged(member, "rejected connection on client endpoint", "transport: certificate serial", "revoked",
               '"dns-names":["thief.test"]')
        assert "etcdserver" in cluster.curl(url)


def clients_may_be_limited_to_hosts():
    with SecureCluster(["kvorum"], (*SecureCluster.CLIENT_TLS, "--client-cert-allowed-hostname=a.d.test,b.d.test")) as cluster:
        for name, names in (("a", "DNS:a.d.test"), ("any-b", "DNS:*.d.test"), ("c", "DNS:c.other")):
            cluster.authority.make(name, names)
        cluster.trust("a")
        cluster.start()
        (member,) = cluster.members
        url = f"https://{member.endpoint}/version"
        assert "etcdserver" in cluster.curl(url, certificate="any-b")
        for stranger in ("c", "client"):
            assert "failed" in cluster.curl(url, certificate=stranger)
        logged(member, "client certificate authentication failed", '"dns-names":["c.other"]')


def certificates_change_without_a_restart():
    with one() as cluster:
        (member,) = cluster.members
        url = f"https://{member.endpoint}/version"
        path = cluster.path("server.pem")
        with open(path) as file:
            old = file.read()

        def shown():
            with socket.create_connection(("127.0.0.1", member.client_port)) as plain_socket:
                with cluster.context.wrap_socket(plain_socket, server_hostname="localhost") as secure:
                    return ssl.DER_cert_to_PEM_cert(secure.getpeercert(True))

        assert shown() == old
        client = member.client()
        client.put("before", "1")
        cluster.authority.make("server", LOCAL)
        with open(path) as file:
            new = file.read()
        assert new != old and shown() == new
        logged(member, "read changed TLS files", "server.pem")
        client.put("after", "1")  # on a connection of before

        # What cannot be used is not.
        with open(path, "w") as file:
            file.write("nothing")
        assert shown() == new
        logged(member, "failed to read changed TLS files", "failed to find any PEM data")
        with open(path, "w") as file:
            file.write(old)
        assert shown() == new
        logged(member, "failed to read changed TLS files", "private key does not match public key")
        with open(path, "w") as file:
            file.write(new)
        assert shown() == new

        # Authorities too.
        other = Authority(cluster.folder, "other")
        other.make("stranger")
        assert "failed" in cluster.curl(url, certificate="stranger")
        with open(cluster.authority.file) as first, open(other.file) as second:
            both = first.read() + second.read()
        with open(cluster.path("both.pem"), "w") as file:
            file.write(both)
        os.replace(cluster.path("both.pem"), cluster.authority.file)
        assert "etcdserver" in cluster.curl(url, certificate="stranger")


def a_secure_cluster_lives():
    with SecureCluster(KVORUM3, flags=["--snapshot-count=100", "--snapshot-catchup-entries=50"]) as cluster:
        cluster.start()
        load = Load(cluster, writers=4)
        load.wait_for(500)
        leader = cluster.leader()
        leader.kill()
        load.wait_for(500)
        leader.start(cluster.initial_cluster())
        load.wait_for(200)
        fourth = cluster.add("kvorum")  # by a snapshot
        wait_until(fourth.serves, "the fourth serves")
        cluster.move_leader(fourth)
        load.wait_for(200)
        load.stop()
        load.check()
        cluster.check_same()
        metrics = cluster.curl(f"https://{leader.endpoint}/metrics")
        assert re.search(r"etcd_network_peer_round_trip_time_seconds_count\{[^}]*\} [1-9]", metrics), metrics
        for member in cluster.members:
            assert "starting with peer TLS" in member.log()
            assert not re.search("rejected connection on peer endpoint.*certificate", member.log()), member.log()


def strangers_are_no_members():
    with SecureCluster(["kvorum"], peer_tls=(*SecureCluster.PEER_TLS, "--peer-crl-file={folder}/ca.crl")) as cluster:
        cluster.start()
        (member,) = cluster.members
        url = f"https://127.0.0.1:{member.listen_port}/members"
        assert '"peerURLs"' in cluster.curl(url, certificate="peer")
        assert '"peerURLs"' in cluster.curl(url, certificate="client")  # of nowhere, so from anywhere
        assert "failed" in cluster.curl(url, certificate=None)
        logged(member, "rejected connection on peer endpoint", "tls: client didn't provide a certificate")
        for name, names, why in (("address", "IP:10.1.2.3", "x509: certificate is valid for 10.1.2.3, not 127.0.0.1"),
                                 ("name", "DNS:no.invalid", 'tls: \\"127.0.0.1\\" does not match any of DNSNames '
                                                            '[\\"no.invalid\\"]')):
            cluster.authority.make(name, names)
            assert "peerURLs" not in cluster.curl(url, certificate=name)
            logged(member, "rejected connection on peer endpoint", why)
        cluster.authority.make("here", "DNS:localhost")
        assert '"peerURLs"' in cluster.curl(url, certificate="here")
        cluster.authority.revoke("here")
        assert "failed" in cluster.curl(url, certificate="here")
        logged(member, "rejected connection on peer endpoint", "transport: certificate serial", "revoked")
        member.kill()
        member.start(extra=["--peer-skip-client-san-verification"])
        cluster.wait_ready()
        assert '"peerURLs"' in cluster.curl(url, certificate="address")
        member.kill()
        member.start(extra=["--experimental-peer-skip-client-san-verification"])
        cluster.wait_ready()
        assert '"peerURLs"' in cluster.curl(url, certificate="address")


def members_may_be_limited_to_names():
    for flag, good in (("--peer-cert-allowed-cn=other,peer", "peer"), ("--peer-cert-allowed-hostname=localhost", "here")):
        with SecureCluster(KVORUM3, peer_tls=(*SecureCluster.PEER_TLS, flag)) as cluster:
            cluster.authority.make("here", "DNS:localhost")
            cluster.authority.make("there", "IP:127.0.0.1", cn="there")
            cluster.start()
            leader = cluster.leader()
            url = f"https://127.0.0.1:{leader.listen_port}/members"
            assert '"peerURLs"' in cluster.curl(url, certificate=good)
            assert "failed" in cluster.curl(url, certificate="there")
            logged(leader, "rejected connection on peer endpoint", "client certificate authentication failed")
            # One with another name is nobody's peer.
            (member, other) = cluster.followers()
            member.kill()
            member.start(cluster.initial_cluster(), extra=[f"--peer-cert-file={cluster.path('there.pem')}",
                                                           f"--peer-key-file={cluster.path('there.key')}"])
            logged(other, "rejected connection on peer endpoint", "client certificate authentication failed")
            assert not member.serves()
            member.kill()
            member.start(cluster.initial_cluster())
            cluster.wait_ready()


def certificates_of_members_change_one_after_another():
    """A new authority comes, and the old one goes, while the cluster works."""
    with SecureCluster(KVORUM3) as cluster:
        cluster.start()
        load = Load(cluster, writers=2)
        load.wait_for(100)
        cluster.authority.make("peer", LOCAL)
        for member in cluster.members:  # connections of before go on; new ones show the new certificate
            member.kill()
            load.wait_for(50)
            member.start(cluster.initial_cluster())
            wait_until(member.serves, f"{member.name} serves again")
        load.wait_for(100)
        load.stop()
        load.check()


def members_dial_with_a_certificate_of_its_own():
    peer_tls = (*SecureCluster.PEER_TLS, "--peer-client-cert-file={folder}/dial.pem",
                "--peer-client-key-file={folder}/dial.key")
    with SecureCluster(KVORUM3, peer_tls=peer_tls) as cluster:
        # What is good for servers alone cannot dial, and the other way round.
        authority = cluster.authority
        for name, use in (("peer", "serverAuth"), ("dial", "clientAuth")):
            authority.make(name, LOCAL)
            authority.openssl("req", "-new", "-key", cluster.path(name + ".key"), "-out", cluster.path("n.csr"), "-subj",
                              "/CN=" + name, "-addext", "subjectAltName=" + LOCAL, "-addext", "extendedKeyUsage=" + use)
            authority.openssl("ca", "-batch", "-notext", "-config", authority.config, "-in", cluster.path("n.csr"),
                              "-out", cluster.path(name + ".pem"), "-days", "5")
        cluster.start()
        cluster.members[0].client().put("a", "b")
        cluster.check_same()


def certificates_are_made():
    with SecureCluster(KVORUM3, AUTO, PEER_AUTO, flags=["--self-signed-cert-validity=2"]) as cluster:
        cluster.trust(certificate=None, anybody=True)
        cluster.start()
        cluster.members[0].client().put("a", "b")
        cluster.check_same()
        found = {}
        for member in cluster.members:
            for side in ("client", "peer"):
                folder = os.path.join(member.directory, "fixtures", side)
                with open(os.path.join(folder, "cert.pem")) as file:
                    found[(member.name, side)] = file.read()
                assert stat.S_IMODE(os.stat(os.path.join(folder, "key.pem")).st_mode) == 0o600
                text = cluster.authority.openssl("x509", "-in", os.path.join(folder, "cert.pem"), "-noout", "-text")
                assert "IP Address:127.0.0.1" in text and "CA:TRUE" in text, text
                assert cluster.authority.openssl("x509", "-in", os.path.join(folder, "cert.pem"), "-noout", "-checkend",
                                                 str(86400 * 700)) is not None
        # A client that knows the certificate trusts it.
        member = cluster.members[0]
        known = os.path.join(member.directory, "fixtures", "client", "cert.pem")
        assert "etcdserver" in subprocess.run(["curl", "-sS", "--cacert", known, f"https://{member.endpoint}/version"],
                                              capture_output=True, text=True, check=False).stdout
        for member in cluster.members:
            member.kill()
        for member in cluster.members:
            member.start(cluster.initial_cluster())
        cluster.wait_ready()
        for (name, side), old in found.items():
            with open(os.path.join(cluster.folder, name, "fixtures", side, "cert.pem")) as file:
                assert file.read() == old, "made anew at a restart"
        assert "found invalid file under data directory" not in cluster.members[0].log()


def given_certificates_come_before_made_ones():
    with one(*SecureCluster.CLIENT_TLS, "--auto-tls") as cluster:
        logged(cluster.members[0], "ignoring client auto TLS since certs given")
        assert not os.path.exists(os.path.join(cluster.members[0].directory, "fixtures"))


def urls_of_both_kinds():
    """http and https on one port and on two, sockets, and metrics."""
    with SecureCluster(["kvorum"]) as cluster:
        (member,) = cluster.members
        path = os.path.join(cluster.folder, "socket")
        metrics, plain_metrics, other = free_port(), free_port(), free_port()
        urls = [f"https://{member.endpoint}", f"http://{member.endpoint}", f"http://127.0.0.1:{other}", f"unixs://{path}"]
        member.start(extra=["--listen-client-urls=" + ",".join(urls),
                            f"--listen-metrics-urls=https://127.0.0.1:{metrics},http://127.0.0.1:{plain_metrics}"])
        cluster.wait_ready()
        serves_everything(cluster)
        for port in (member.client_port, other):
            assert "etcdserver" in cluster.curl(f"http://127.0.0.1:{port}/version")
            assert "etcdserver" in cluster.curl(f"http://127.0.0.1:{port}/version", "--http2-prior-knowledge")
            logged(member, "scheme is http or unix while key and cert files are present; ignoring key and cert files",
                   f'"client-url":"http://127.0.0.1:{port}"')
            logged(member, "scheme is http or unix while --client-cert-auth is enabled; ignoring client cert auth for "
                           "this URL", f'"client-url":"http://127.0.0.1:{port}"')
        with socket.create_connection(("127.0.0.1", member.client_port)):  # says nothing, and is in nobody's way
            assert "etcdserver" in cluster.curl(f"http://{member.endpoint}/version")
        assert "etcdserver" in cluster.curl("https://localhost/version", "--unix-socket", path)
        assert "etcd_server_has_leader" in cluster.curl(f"https://127.0.0.1:{metrics}/metrics")
        assert "failed" in cluster.curl(f"https://127.0.0.1:{metrics}/metrics", certificate=None)
        assert "etcd_server_has_leader" in cluster.curl(f"http://127.0.0.1:{plain_metrics}/metrics")


def names_of_hosts_matter_without_tls_alone():
    with one(flags=["--host-whitelist=127.0.0.1"]) as cluster:
        (member,) = cluster.members
        assert "etcdserver" in cluster.curl(f"https://{member.endpoint}/version", "-HHost: evil.test")


def versions_and_ciphers_are_kept_to():
    with one(*CERTIFICATE_ALONE, "--tls-max-version=TLS1.2",
             "--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256") as cluster:
        url = f"https://{cluster.members[0].endpoint}/version"
        assert "failed" in cluster.curl(url, "--tlsv1.3")
        assert "failed" in cluster.curl(url, "--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384")
        assert "etcdserver" in cluster.curl(url, "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256")
        assert "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" in logged(cluster.members[0], "starting with client TLS")
    with one(*CERTIFICATE_ALONE, "--tls-min-version=TLS1.3") as cluster:
        url = f"https://{cluster.members[0].endpoint}/version"
        assert "failed" in cluster.curl(url, "--tls-max", "1.2")
        logged(cluster.members[0], "tls: client offered only unsupported versions: [303 302 301]")
        assert "etcdserver" in cluster.curl(url, "--tlsv1.3")


def a_file_says_it_too():
    with SecureCluster(["kvorum"], (), ()) as cluster:
        (member,) = cluster.members
        path = cluster.path("config.yml")
        with open(path, "w") as file:
            file.write(f"""name: {member.name}
data-dir: {member.directory}
listen-client-urls: https://{member.endpoint}
advertise-client-urls: https://{member.endpoint}
listen-peer-urls: {member.peer_url}
initial-advertise-peer-urls: {member.peer_url}
initial-cluster: {member.name}={member.peer_url}
client-transport-security:
  cert-file: {cluster.path("server.pem")}
  key-file: {cluster.path("server.key")}
  client-cert-auth: true
  trusted-ca-file: {cluster.path("ca.pem")}
peer-transport-security:
  auto-tls: true
""")
        with open(member.log_path, "ab") as log:
            member.process = subprocess.Popen([KVORUM, "--config-file", path], stdout=log, stderr=log)
        cluster.wait_ready()
        serves_everything(cluster)
        assert "failed" in cluster.curl(f"https://{member.endpoint}/version", certificate=None)
        assert os.path.exists(os.path.join(member.directory, "fixtures", "peer", "cert.pem"))


def what_does_not_fit_is_refused():
    with SecureCluster(["kvorum"], (), ()) as cluster:
        (member,) = cluster.members
        cert, key, other = (cluster.path(name) for name in ("server.pem", "server.key", "client.key"))
        pair = [f"--cert-file={cert}", f"--key-file={key}"]
        peer_pair = [f"--peer-cert-file={cert}", f"--peer-key-file={key}"]
        missing = cluster.path("missing")

        def says(text, *flags):
            member.start(extra=flags)
            assert member.wait() == 1, member.log()
            assert text in member.log(), member.log()
            os.remove(member.log_path)

        says("TLS key/cert (--cert-file, --key-file) must be provided for client url https://" + member.endpoint +
             " with HTTPS scheme", *peer_pair)
        says(f"cannot listen on TLS for 127.0.0.1:{member.listen_port}: KeyFile and CertFile are not presented", *pair)
        says(f"KeyFile and CertFile must both be present[key: , cert: {cert}]", pair[0], *peer_pair)
        says(f"KeyFile and CertFile must both be present[key: {key}, cert: ]", *pair, peer_pair[1])
        says(f"open {missing}: no such file or directory", f"--cert-file={missing}", pair[1], *peer_pair)
        says("tls: private key does not match public key", pair[0], f"--key-file={other}", *peer_pair)
        says(f"open {missing}: no such file or directory", *pair, f"--trusted-ca-file={missing}", *peer_pair)
        says(f"open {missing}: no such file or directory", *pair, *peer_pair, f"--peer-crl-file={missing}")
        says(f"ClientKeyFile and ClientCertFile must both be present or both absent: key: , cert: {cert}]", *pair,
             *peer_pair, f"--client-cert-file={cert}")
        says(f"ClientKeyFile and ClientCertFile must both be present or both absent: key: {key}, cert: ]", *pair,
             *peer_pair, f"--peer-client-key-file={key}")
        says('unexpected TLS cipher suite \\"TLS_FOO\\"', *pair, *peer_pair, "--cipher-suites=TLS_FOO")
        says('unexpected TLS version \\"TLS1.1\\" (must be one of: TLS1.2, TLS1.3)', "--tls-min-version=TLS1.1")
        says("min version (TLS1.3) is greater than max version (TLS1.2)", "--tls-min-version=TLS1.3",
             "--tls-max-version=TLS1.2")
        says("cipher suites cannot be configured when only TLS1.3 is enabled", "--tls-min-version=TLS1.3",
             "--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")
        says("AllowedCNs and AllowedHostnames are mutually exclusive", *pair, *peer_pair, "--peer-cert-allowed-cn=a",
             "--peer-cert-allowed-hostname=b")
        says("selfSignedCertValidity is invalid,it should be greater than 0", "--auto-tls", "--peer-auto-tls",
             "--self-signed-cert-validity=0")
        says("client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url",
             f"--listen-client-urls=http://{member.endpoint}", "--listen-metrics-urls=https://127.0.0.1:1", *peer_pair)
        assert not os.path.exists(os.path.join(member.directory, "member"))


def half_done_handshakes_harm_nobody():
    with one() as cluster:
        (member,) = cluster.members
        silent = [socket.create_connection(("127.0.0.1", member.client_port)) for _ in range(1500)]
        client = member.client()
        client.put("a", "b")
        assert "etcdserver" in cluster.curl(f"https://{member.endpoint}/version")
        # The oldest made room.
        silent[0].settimeout(PATIENCE)
        assert silent[0].recv(1) == b""
        for connection in silent:
            connection.close()


TESTS = [
    clients_must_show_a_certificate, a_certificate_alone_lets_every_client_in,
    an_authority_alone_asks_for_certificates, revoked_clients_are_refused, clients_may_be_limited_to_hosts,
    certificates_change_without_a_restart, a_secure_cluster_lives, strangers_are_no_members,
    members_may_be_limited_to_names, certificates_of_members_change_one_after_another,
    members_dial_with_a_certificate_of_its_own, certificates_are_made, given_certificates_come_before_made_ones,
    urls_of_both_kinds, names_of_hosts_matter_without_tls_alone, versions_and_ciphers_are_kept_to, a_file_says_it_too,
    what_does_not_fit_is_refused, half_done_handshakes_harm_nobody
]

if __name__ == "__main__":
    run_tests(TESTS)
