"""Discovery with releases of etcd on the one side or the other. usage: etcd_discovery_test.py TEST"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from discovery import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position


def bootstraps(service_kind, kinds, v3):
    with Service(service_kind) as service, Cluster([], ()) as cluster:
        flags = service.v3_token(len(kinds)) if v3 else service.token(len(kinds))
        for kind in kinds:
            older = kind == "kvorum" and "etcd" in kinds and ETCD_RELEASE != etcd_release.NEWEST
            limit = [f"--cluster-version-limit={ETCD_RELEASE}"] if older else []
            cluster.new_member(kind, flags=limit).start(found_by=flags)
        is_one_cluster(cluster)
        late = cluster.new_member("etcd")
        late.start(found_by=flags)
        assert late.wait() == 1 and "failed to join discovery cluster (discovery: cluster is full)" in late.log()
        late = cluster.new_member("kvorum")
        late.start(found_by=flags)
        assert failed(late) == "failed to join discovery cluster (discovery: cluster is full)"


def etcd_by_our_service():
    bootstraps("kvorum", ("etcd", "etcd", "etcd"), v3=True)


def members_by_etcds_service():
    bootstraps("etcd", ("kvorum", "kvorum", "kvorum"), v3=True)


def members_of_both_kinds_by_our_service():
    bootstraps("kvorum", ("etcd", "kvorum", "etcd"), v3=True)


def members_of_both_kinds_by_etcds_service():
    bootstraps("etcd", ("kvorum", "etcd", "kvorum"), v3=True)


def both_kinds_find_the_same_mistakes():
    with Service() as service, Cluster([], ()) as cluster:
        flags = service.v3_token("x")
        missing = ["--discovery-token=missing"] + flags[2:]
        for wrong, text in ((flags, "size key is bad"), (missing, "size key not found")):
            for kind in ("etcd", "kvorum"):
                member = cluster.new_member(kind)
                member.start(found_by=wrong)
                assert member.wait() == 1
                assert f"failed to join discovery cluster (discovery: {text})" in member.log(), member.log()[-2000:]


def the_older_protocol_by_our_service():
    bootstraps("kvorum", ("etcd", "kvorum", "etcd"), v3=False)


def passwords_are_shown_to_etcd():
    with Service("etcd") as service, Cluster([], ()) as cluster:
        flags = service.v3_token(1)
        for command in (["user", "add", "root:rootpw"], ["user", "grant-role", "root", "root"], ["auth", "enable"]):
            service.etcdctl(*command)
        wrong = cluster.new_member("kvorum")
        wrong.start(found_by=flags + ["--discovery-user=root:nonsense"])
        assert failed(wrong) == "failed to join discovery cluster (etcdserver: authentication failed, invalid user ID " \
            "or password)"
        cluster.members.remove(wrong)
        right = cluster.new_member("kvorum")
        right.start(found_by=flags + ["--discovery-user=root", "--discovery-password=rootpw"])
        is_one_cluster(cluster)
        with urllib.request.urlopen(f"http://{right.endpoint}/debug/vars", timeout=PATIENCE) as response:
            assert "--discovery-password=***" in json.load(response)["cmdline"]
        for member in (wrong, right):
            assert "rootpw" not in member.log() and "nonsense" not in member.log(), member.log()[:2000]


run_tests([
    etcd_by_our_service,
    members_by_etcds_service,
    members_of_both_kinds_by_our_service,
    members_of_both_kinds_by_etcds_service,
    both_kinds_find_the_same_mistakes,
    the_older_protocol_by_our_service,
    passwords_are_shown_to_etcd,
])
