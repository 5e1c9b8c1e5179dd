"""Kvorum and etcd find each other by the same DNS records. usage: etcd_dns_test.py TEST

etcd asks port 53 of the servers in resolv.conf; only root may give it one of its own and serve that port. etcd 3.4 does
not start where a domain has records of plain members alone.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from dns_test import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position

SKIPPED = 77
DNS_PORT = 53


def members_find_each_other_and_live_on():
    lives_by(("etcd", "kvorum", "etcd"), DNS_PORT)


def ids_are_the_same():
    """The same records make the same cluster, whichever program reads them."""
    with cluster_of(("etcd", "kvorum")) as cluster:
        first, second = cluster.members
        second.listen_port = second.advertised_port = first.listen_port
        second.name = first.name
        with Dns(hosts(cluster) + services(cluster)[:1], DNS_PORT) as dns:
            first.start_by(dns)
            wait_until(first.serves, "etcd serves")
            status = first.status()["header"]
            first.kill()
            second.start_by(dns)
            wait_until(second.serves, "kvorum serves")
            found = second.status()["header"]
            assert (found["cluster_id"], found["member_id"]) == (status["cluster_id"], status["member_id"]), found


TESTS = [members_find_each_other_and_live_on, ids_are_the_same]

if __name__ == "__main__":
    if os.geteuid() != 0:
        print("not root")
        sys.exit(SKIPPED)
    run_tests(TESTS)
