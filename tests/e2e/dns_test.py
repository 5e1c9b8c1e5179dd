"""Clusters that find their first members by DNS SRV. usage: dns_test.py TEST"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from cluster import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position
from dnsmasq import Dns, host, srv  # pylint: disable=wrong-import-position

KVORUM3 = ("kvorum", "kvorum", "kvorum")


class Named(Member):
    """A member that is known to the others by a name that only the DNS server knows."""

    @property
    def peer_url(self):
        return f"http://{self.name}.d.test:{self.advertised_port}"

    def start_by(self, dns, *flags, own_url=None):
        client = f"http://{self.endpoint}"
        argv = [self.program, "--name", self.name, "--data-dir", self.directory, "--listen-client-urls", client,
                "--advertise-client-urls", client, "--listen-peer-urls", f"http://127.0.0.1:{self.listen_port}",
                "--initial-advertise-peer-urls", own_url or self.peer_url, "--discovery-srv", "d.test",
                *self.flags, *flags]
        if self.kind == "kvorum":
            argv += ["--dns-server", dns.address]
        else:  # asks the servers of resolv.conf, at port 53: it gets one of its own
            resolv = self.directory + ".resolv"
            with open(resolv, "w") as file:
                file.write(f"nameserver {dns.host}\n")
            argv = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', resolv,
                    *argv, "--logger=zap", "--log-outputs=stderr"]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def failure(self):
        """Why it did not start: the one line that says so."""
        assert self.wait() == 1, self.log()
        (line,) = [line for line in self.log().splitlines() if '"level":"fatal"' in line]
        return json.loads(line)["error"]

    def refuses(self, dns, *flags, own_url=None):
        """Its failure; it may be started again."""
        self.start_by(dns, *flags, own_url=own_url)
        error = self.failure()
        os.remove(self.log_path)
        shutil.rmtree(self.directory, ignore_errors=True)
        return error


def cluster_of(kinds):
    cluster = Cluster([])
    for number, kind in enumerate(kinds):
        name = f"m{number + 1}"
        cluster.members.append(Named(kind, name, os.path.join(cluster.folder, name), client_host_port=free_port()))
    return cluster


def hosts(cluster):
    return [host(f"{m.name}.d.test") for m in cluster.members]


def services(cluster, service="etcd-server"):
    return [srv(service, "d.test", f"{m.name}.d.test", m.listen_port, number, 7)
            for number, m in enumerate(cluster.members)]


def works(cluster):
    cluster.wait_ready()
    for member in cluster.members:
        member.client().put(f"from {member.name}", member.name)
    cluster.check_same()
    listed = cluster.members_listed()
    assert sorted(m["name"] for m in listed) == sorted(m.name for m in cluster.members), listed
    assert sorted(m["peerURLs"][0] for m in listed) == sorted(m.peer_url for m in cluster.members), listed


def lives_by(kinds, port=None):
    """Bootstrap, then restarts without the service's records, and with none but the names."""
    with cluster_of(kinds) as cluster, Dns(hosts(cluster) + services(cluster), port) as dns:
        for member in cluster.members:
            member.start_by(dns)
        works(cluster)
        leader = cluster.leader()
        leader.kill()
        cluster.leader()
        leader.start_by(dns)
        works(cluster)
        dns.set(hosts(cluster))
        for member in cluster.members:
            member.kill()
        for member in cluster.members:
            member.start_by(dns)
        works(cluster)


def three_members_find_each_other():
    lives_by(KVORUM3)


def the_suffix_selects_the_service():
    with cluster_of(KVORUM3) as cluster:
        with Dns(hosts(cluster) + services(cluster, "etcd-server-blue")) as dns:
            assert "lookup _etcd-server._tcp.d.test" in cluster.members[0].refuses(dns)
            for member in cluster.members:
                member.start_by(dns, "--discovery-srv-name=blue")
            works(cluster)


def records_of_both_services_are_joined():
    """Of its own two records a member takes the one of its scheme."""
    with cluster_of(["kvorum"]) as cluster:
        records = hosts(cluster) + services(cluster) + services(cluster, "etcd-server-ssl")
        with Dns(records) as dns:
            cluster.members[0].start_by(dns)
            works(cluster)
            log = cluster.members[0].log()
            assert '"msg":"got bootstrap from DNS for etcd-server","node":"m1=' in log, log


def wrong_records_are_refused():
    with cluster_of(KVORUM3) as cluster, Dns() as dns:
        first, second, _ = cluster.members
        missing = "error querying DNS SRV records for _{0} lookup _{0}._tcp.d.test on " + dns.address + ": no such host"
        prefix = "error setting up initial cluster: "
        names = hosts(cluster)

        dns.set(names)
        assert first.refuses(dns) == prefix + missing.format("etcd-server-ssl") + "; " + missing.format("etcd-server")

        dns.set(names + services(cluster)[1:])
        assert first.refuses(dns) == prefix + 'cannot find local etcd member "m1" in SRV records'

        dns.set(names + services(cluster) + [srv("etcd-server", "d.test", "m2.d.test", second.listen_port, 9)])
        error = first.refuses(dns)
        assert error.startswith("initial cluster ") and error.endswith(" has duplicate url"), error

        dns.set(names + services(cluster) + [srv("etcd-server", "d.test", "m1.d.test", first.listen_port, 9)])
        error = first.refuses(dns)
        assert error.startswith(f"failed to resolve {first.peer_url} to match --initial-cluster=m1={first.peer_url}"), \
            error

        dns.set(names + services(cluster, "etcd-server-ssl")[:1])
        assert first.refuses(dns) == (
            prefix + f"error querying DNS SRV records for _etcd-server-ssl bootstrap at https://m1.d.test:"
            f"{first.listen_port} from DNS for etcd-server-ssl has scheme mismatch with expected peer "
            f"{first.peer_url}; " + missing.format("etcd-server"))

        dns.set(services(cluster))
        assert first.refuses(dns) == prefix + f"lookup m1.d.test on {dns.address}: no such host"
        assert first.refuses(dns, own_url=f"http://127.0.0.1:{first.listen_port}").endswith(
            f"error querying DNS SRV records for _etcd-server lookup m1.d.test. on {dns.address}: no such host")

        dns.stop()
        assert first.refuses(dns).endswith(f"lookup m1.d.test on {dns.address}: connection refused")


def wrong_flags_are_refused():
    with tempfile.TemporaryDirectory() as folder:
        def says(text, *flags):
            result = subprocess.run([KVORUM, "--data-dir", os.path.join(folder, "d"), *flags], capture_output=True,
                                    text=True, timeout=PATIENCE, check=False)
            assert result.returncode == 1 and text in result.stderr, result.stderr
        says('--dns-server: \\"nowhere\\" is no address of a DNS server', "--dns-server=nowhere")
        says("multiple discovery or bootstrap flags are set", "--discovery-srv=d.test",
             "--initial-cluster=default=http://localhost:2380")


TESTS = [
    three_members_find_each_other, the_suffix_selects_the_service, records_of_both_services_are_joined,
    wrong_records_are_refused, wrong_flags_are_refused
]

if __name__ == "__main__":
    run_tests(TESTS)
