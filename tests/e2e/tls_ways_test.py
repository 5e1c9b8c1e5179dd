"""Ways to a cluster with TLS: by DNS records, through proxies. usage: tls_ways_test.py TEST"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from cluster import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position
from certificates import Authority  # pylint: disable=wrong-import-position
from dnsmasq import Dns, host, srv  # pylint: disable=wrong-import-position
from grpc_proxy import GrpcProxy  # pylint: disable=wrong-import-position
from proxy import Proxy  # pylint: disable=wrong-import-position
from secure import SecureCluster, SecureMember  # pylint: disable=wrong-import-position

KVORUM3 = ("kvorum", "kvorum", "kvorum")


class Named(SecureMember):
    """Known to the others by a name that only the DNS server knows. For clients it has no TLS."""

    client_scheme = "http"
    dns = None

    def client(self):
        return Client(self.client_port)

    @property
    def peer_url(self):
        return f"https://{self.name}.d.test:{self.advertised_port}"

    def find(self, *flags, environment=()):
        """Starts by the domain's records."""
        client = f"http://{self.endpoint}"
        argv = [self.program, "--name", self.name, "--data-dir", self.directory, "--listen-client-urls", client,
                "--advertise-client-urls", client, "--listen-peer-urls", f"https://127.0.0.1:{self.listen_port}",
                "--initial-advertise-peer-urls", self.peer_url, "--discovery-srv", "d.test", *self.flags, *flags]
        if self.kind == "kvorum":
            argv += ["--dns-server", self.dns.address]
        else:  # asks the servers of resolv.conf, at port 53: it gets one of its own
            resolv = self.directory + ".resolv"
            with open(resolv, "w") as file:
                file.write(f"nameserver {self.dns.host}\n")
            argv = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', resolv,
                    *argv, "--logger=zap", "--log-outputs=stderr"]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=dict(os.environ, **dict(environment)))


class NamedCluster(SecureCluster):
    member_class = Named

    def records(self):
        return [host(f"{m.name}.d.test") for m in self.members] + [
            srv("etcd-server-ssl", "d.test", f"{m.name}.d.test", m.listen_port) for m in self.members]

    def works(self):
        self.wait_ready()
        for member in self.members:
            member.client().put(f"from {member.name}", member.name)
        self.check_same()
        listed = self.members_listed()
        assert sorted(m["peerURLs"][0] for m in listed) == sorted(m.peer_url for m in self.members), listed


def finds_by_records(kinds, port=None):
    """Three members by _etcd-server-ssl._tcp records, each with a certificate of its name alone; restarts."""
    peer_tls = ("--peer-client-cert-auth", "--peer-trusted-ca-file={folder}/ca.pem")
    with NamedCluster(kinds, (), peer_tls) as cluster, Dns(cluster.records(), port) as dns:
        for member in cluster.members:
            cert, key = cluster.authority.make(f"of-{member.name}", f"DNS:{member.name}.d.test")
            member.flags += [f"--peer-cert-file={cert}", f"--peer-key-file={key}"]
            member.dns = dns
            member.find()
        cluster.works()
        assert any('"msg":"got bootstrap from DNS for etcd-server","node":"' in m.log() and "=https://" in m.log()
                   for m in cluster.members if m.kind == "kvorum")
        leader = cluster.leader()
        leader.kill()
        cluster.leader()
        leader.find()
        cluster.works()
        # A member with a name that is not its address's is refused.
        member = next(m for m in cluster.members if m.kind == "kvorum")
        url = f"https://127.0.0.1:{member.listen_port}/members"
        cluster.authority.make("elsewhere", "DNS:elsewhere.d.test")
        dns.set(cluster.records() + [host("elsewhere.d.test", "127.0.0.9")])
        assert "peerURLs" not in cluster.curl(url, "-k", certificate="elsewhere")
        wait_until(lambda: 'does not match any of DNSNames [\\"elsewhere.d.test\\"]' in member.log(), "it is refused")
        assert "peerURLs" in cluster.curl(url, "-k", "--interface", "127.0.0.9", certificate="elsewhere")
        # One with a wildcard is known by the name of its address.
        cluster.authority.make("any", "DNS:*.d.test")
        assert "peerURLs" in cluster.curl(url, "-k", "--interface", "127.0.0.9", certificate="any")
        assert "peerURLs" not in cluster.curl(url, "-k", certificate="any")


def members_find_each_other_by_secure_records():
    finds_by_records(KVORUM3)


def without_an_authority_the_domain_is_what_counts():
    """Members that the system's authorities vouch for have the domain in their certificates."""
    with NamedCluster(KVORUM3, (), ("--peer-client-cert-auth",)) as cluster, Dns(cluster.records()) as dns:
        trust = {"SSL_CERT_FILE": cluster.authority.file}
        for member in cluster.members:
            names = f"DNS:{member.name}.d.test"
            cert, key = cluster.authority.make(f"of-{member.name}", names)
            member.flags += [f"--peer-cert-file={cert}", f"--peer-key-file={key}"]
            member.dns = dns
            member.find(environment=trust)
        member = cluster.members[0]
        wait_until(lambda: re.search(r"certificate is valid for m\d\.d\.test, not d\.test", member.log()),
                   "a certificate without the domain is refused")
        for member in cluster.members:
            cluster.authority.make(f"of-{member.name}", f"DNS:d.test,DNS:{member.name}.d.test")
        cluster.works()  # without a restart
        for member in cluster.members:
            member.kill()
        for member in cluster.members:
            member.find(environment=trust)
        cluster.works()


def made_certificates_do_for_records():
    with NamedCluster(KVORUM3, (), ("--peer-auto-tls",)) as cluster, Dns(cluster.records()) as dns:
        for member in cluster.members:
            member.dns = dns
            member.find()
        cluster.works()


def the_grpc_proxy_stands_before_a_secure_cluster():
    with SecureCluster(KVORUM3) as cluster:
        cluster.start()
        cluster.authority.make("nobody", cn="")
        towards = [f"--cacert={cluster.authority.file}", f"--cert={cluster.path('nobody.pem')}",
                   f"--key={cluster.path('nobody.key')}"]
        with GrpcProxy("kvorum", ",".join(m.endpoint for m in cluster.members), towards) as proxy:
            proxy.etcdctl("put", "a", "b")
            assert cluster.etcdctl("get", "a") == "a\nb\n"
        listening = [f"--cert-file={cluster.path('server.pem')}", f"--key-file={cluster.path('server.key')}"]
        with GrpcProxy("kvorum", ",".join(m.endpoint for m in cluster.members), towards + listening, tls=True) as proxy:
            result = subprocess.run(["etcdctl", f"--cacert={cluster.authority.file}", "--endpoints",
                                     f"https://{proxy.endpoint}", "get", "a"], env=dict(os.environ, ETCDCTL_API="3"),
                                    capture_output=True, text=True, check=False)
            assert result.stdout == "a\nb\n", result


def proxy_mode_stands_before_a_secure_cluster():
    with SecureCluster(KVORUM3) as cluster:
        cluster.start()
        tls = list(cluster.flags)
        with Proxy("kvorum", cluster, tls) as proxy:  # its own clients come without TLS
            wait_until(lambda: len(proxy.endpoints() or []) == 3, "the proxy knows the members")
            url = f"http://{proxy.endpoint}"
            assert '"value":"1"' in cluster.curl(url + "/v2/keys/a", "-XPUT", "-dvalue=1")
            assert '"value":"1"' in cluster.curl(url + "/v2/keys/a", "-L")
            result = subprocess.run(["etcdctl", "--endpoints", proxy.endpoint, "put", "k", "v"], text=True,
                                    env=dict(os.environ, ETCDCTL_API="3"), capture_output=True, check=False)
            assert result.stdout == "OK\n", result
            assert cluster.etcdctl("get", "k") == "k\nv\n"
        # A certificate of its own towards the members, and TLS towards its clients.
        cluster.authority.make("proxy")
        secure = tls + [f"--client-cert-file={cluster.path('proxy.pem')}", f"--client-key-file={cluster.path('proxy.key')}"]
        proxy = Proxy("kvorum", cluster, secure)
        command = [word.replace("http://", "https://") if word == f"http://{proxy.endpoint}" else word
                   for word in proxy.command()]
        proxy.command = lambda: command
        url = f"https://{proxy.endpoint}/v2"
        proxy.endpoints = lambda: "https://" in cluster.curl(url + "/config/local/proxy")
        with proxy:
            assert '"value":"1"' in cluster.curl(url + "/keys/a")
            assert "failed" in cluster.curl(url + "/keys/a", certificate=None)


def the_gateway_is_transparent():
    with SecureCluster(KVORUM3) as cluster:
        cluster.start()
        port = free_port()
        log = open(os.path.join(cluster.folder, "gateway.log"), "ab")
        gateway = subprocess.Popen([KVORUM, "gateway", "start", f"--listen-addr=127.0.0.1:{port}",
                                    f"--endpoints={','.join(m.endpoint for m in cluster.members)}"], stdout=log, stderr=log)
        try:
            wait_until(lambda: "etcdserver" in cluster.curl(f"https://127.0.0.1:{port}/version"), "it passes on")
        finally:
            gateway.kill()
            gateway.wait()
            log.close()


TESTS = [
    members_find_each_other_by_secure_records, without_an_authority_the_domain_is_what_counts,
    made_certificates_do_for_records, the_grpc_proxy_stands_before_a_secure_cluster,
    proxy_mode_stands_before_a_secure_cluster, the_gateway_is_transparent
]

if __name__ == "__main__":
    run_tests(TESTS)
