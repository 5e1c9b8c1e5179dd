"""Secure clusters of Kvorum and etcd. usage: etcd_tls_test.py TEST

Debian's etcd, unless KVORUM_TEST_ETCD_RELEASE names a release of etcd_release.py.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from tls_ways_test import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position

SKIPPED = 77
DNS_PORT = 53
MIXED = ("etcd", "kvorum", "etcd")
RELEASE = re.search(r"etcd Version: (\d+\.\d+)", subprocess.run(
    [ETCD, "--version"], capture_output=True, text=True, check=False).stdout).group(1)
LIMITED = [] if RELEASE == "3.7" else ["--cluster-version-limit=" + RELEASE]


def lives(cluster):
    """Works, whoever leads."""
    cluster.start()
    load = Load(cluster, writers=2)
    for member in cluster.members:
        cluster.move_leader(member)
        load.wait_for(50)
    member = cluster.members[1]
    member.kill()
    load.wait_for(50)
    member.start(cluster.initial_cluster())
    wait_until(member.serves, f"{member.name} serves again")
    load.wait_for(50)
    load.stop()
    load.check()
    cluster.check_same()


def mixed(*arguments, **keywords):
    cluster = SecureCluster([], *arguments, **keywords)
    for kind in MIXED:
        cluster.new_member(kind, flags=LIMITED if kind == "kvorum" else [])
    return cluster


def certificates_on_both_sides():
    with mixed() as cluster:
        lives(cluster)


def names_and_revoked_ones():
    peer_tls = (*SecureCluster.PEER_TLS, "--peer-cert-allowed-cn=peer", "--peer-crl-file={folder}/ca.crl")
    with mixed(peer_tls=peer_tls) as cluster:
        lives(cluster)


def made_certificates():
    with mixed(("--auto-tls",), ("--peer-auto-tls",)) as cluster:
        cluster.trust(certificate=None, anybody=True)
        lives(cluster)


def the_certificates_that_etcd_made_are_taken():
    with mixed(("--auto-tls",), ("--peer-auto-tls",)) as cluster:
        cluster.trust(certificate=None, anybody=True)
        cluster.start()
        first, second, _ = cluster.members
        made = os.path.join(first.directory, "fixtures", "client")
        taken = os.path.join(second.directory, "fixtures", "client")
        second.kill()
        for name in ("cert.pem", "key.pem"):
            shutil.copy(os.path.join(made, name), os.path.join(taken, name))
        second.start(cluster.initial_cluster())
        cluster.wait_ready()
        result = subprocess.run(["curl", "-sS", "--cacert", os.path.join(made, "cert.pem"),
                                 f"https://{second.endpoint}/version"], capture_output=True, text=True, check=False)
        assert "etcdserver" in result.stdout, result


def records_are_read_alike():
    if os.geteuid() != 0:
        print("not root")
        sys.exit(SKIPPED)
    finds_by_records(MIXED, DNS_PORT)


TESTS = [certificates_on_both_sides, names_and_revoked_ones, made_certificates,
         the_certificates_that_etcd_made_are_taken, records_are_read_alike]

if __name__ == "__main__":
    run_tests(TESTS)
