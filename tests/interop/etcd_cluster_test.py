"""One cluster of Kvorum and etcd. usage: etcd_cluster_test.py TEST

Debian's etcd, unless KVORUM_TEST_ETCD_RELEASE names a release of etcd_release.py.
"""

import http.client
import json
import os
import re
import subprocess
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from cluster import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position

MANY = 200_000


def flags_of(kind):
    """Snapshots often, with little of the log behind them; and a way back for this release of etcd."""
    if kind == "kvorum":
        limit = etcd_version().rpartition(".")[0]
        return ["--snapshot-count=1000", "--snapshot-catchup-entries=500"] + (
            [f"--cluster-version-limit={limit}"] if limit != "3.7" else [])
    return ["--snapshot-count=1000"] + (["--enable-v2"] if HAS_V2 else [])


def mixed(kinds, flags=()):
    cluster = Cluster([], flags)
    for kind in kinds:
        cluster.new_member(kind, flags=flags_of(kind))
    return cluster


def exercise(cluster, tag):
    """Something of everything, each through another member; what it left is told to `verify`."""
    members = [m for m in cluster.members if m.alive()]
    turn = iter(range(10**9))

    def client():
        return members[next(turn) % len(members)].client()

    for i in range(30):
        client().put(f"{tag}/put/{i}", f"value {i}")
    answer = client().call("kv/txn", {
        "compare": [{"key": text64(f"{tag}/put/1"), "target": "VALUE", "result": "EQUAL", "value": text64("value 1")}],
        "success": [{"request_put": {"key": text64(f"{tag}/txn"), "value": text64("then")}},
                    {"request_delete_range": {"key": text64(f"{tag}/put/2")}}],
        "failure": [{"request_put": {"key": text64(f"{tag}/txn"), "value": text64("else")}}]})
    assert answer.get("succeeded"), answer
    deleted = client().call("kv/deleterange", {"key": text64(f"{tag}/put/3"), "range_end": text64(f"{tag}/put/4")})
    assert int(deleted["deleted"]) >= 1, deleted
    lease = int(client().call("lease/grant", {"TTL": 600})["ID"])
    client().put(f"{tag}/leased", "1", lease=lease)
    for member in members:  # a renewal finds its way to the leader
        answer = member.client().call("lease/keepalive", {"ID": str(lease)})
        assert int(answer["result"]["TTL"]) == 600, (member.name, answer)
        answer = member.client().call("lease/timetolive", {"ID": str(lease), "keys": True})
        assert int(answer["grantedTTL"]) == 600 and answer["keys"] == [text64(f"{tag}/leased")], answer
    gone = int(client().call("lease/grant", {"TTL": 600})["ID"])
    client().put(f"{tag}/gone", "1", lease=gone)
    client().call("lease/revoke", {"ID": str(gone)})
    for member in members:
        reader = member.client()
        assert reader.get(f"{tag}/txn") == "then", member.name
        assert reader.get(f"{tag}/put/2") is None
        assert reader.get(f"{tag}/gone") is None
        assert reader.get(f"{tag}/leased") == "1"
    revision = client().put(f"{tag}/compacted", "1")
    client().call("kv/compaction", {"revision": str(revision), "physical": True}, 30)
    number = members[0].id()
    client().call("maintenance/alarm", {"action": "ACTIVATE", "memberID": str(number), "alarm": "NOSPACE"})
    for member in members:
        def raised(member=member):
            client = member.client()
            client.get("sync")
            return client.call("maintenance/alarm", {"action": "GET"}).get("alarms")
        wait_until(raised, f"{member.name} knows of the alarm")
    client().call("maintenance/alarm", {"action": "DEACTIVATE", "memberID": str(number), "alarm": "NOSPACE"})
    client().put(f"{tag}/after", "1")


def check_versions(cluster, version):
    for member in cluster.members:
        def agreed(member=member):
            connection = http.client.HTTPConnection("127.0.0.1", member.client_port, timeout=5)
            connection.request("GET", "/version")
            return json.loads(connection.getresponse().read())["etcdcluster"] == version
        wait_until(agreed, f"{member.name} says that the cluster is {version}")


def etcd_version(program=ETCD):
    text = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"etcd Version: (\d+\.\d+)", text).group(1) + ".0"


# Later releases die of the requests of the v2 API.
HAS_V2 = etcd_version() < "3.6.0"


def every_kind_leads(cluster):
    for kind in sorted({m.kind for m in cluster.members}):
        member = next(m for m in cluster.members if m.kind == kind)
        cluster.move_leader(member)
        exercise(cluster, f"led-by-{kind}")
        cluster.check_same()


def everyone_is_killed_once(cluster):
    load = Load(cluster, writers=3, readers=1)
    for member in cluster.members:
        load.wait_for(50)
        since = time.monotonic()
        member.kill()
        load.wait_for(100)
        print(f"{member.kind} killed: no put for {load.longest_gap(since) * 1000:.0f} ms")
        member.start(cluster.initial_cluster())
        cluster.wait_ready([member])
    load.stop()
    load.check()
    cluster.check_same()


def from_scratch(kinds):
    with mixed(kinds) as cluster:
        cluster.start()
        exercise(cluster, "first")
        every_kind_leads(cluster)
        everyone_is_killed_once(cluster)
        check_versions(cluster, etcd_version())
        cluster.etcdctl("endpoint", "health")


def two_etcd_and_one_kvorum():
    from_scratch(["etcd", "etcd", "kvorum"])


def one_etcd_and_two_kvorum():
    from_scratch(["etcd", "kvorum", "kvorum"])


def joins(host, guest):
    """A guest joins a small cluster of three hosts."""
    with mixed([host] * 3) as cluster:
        cluster.start()
        exercise(cluster, "before")
        member = cluster.add(guest, flags=flags_of(guest))
        cluster.wait_ready([member])
        exercise(cluster, "after")
        cluster.check_same()
        cluster.move_leader(member)
        exercise(cluster, "led-by-guest")
        everyone_is_killed_once(cluster)
        check_versions(cluster, etcd_version())


def a_kvorum_joins_etcd():
    joins("etcd", "kvorum")


def an_etcd_joins_kvorum():
    joins("kvorum", "etcd")


def fill(cluster, count):
    """So many keys, in transactions of a hundred."""
    client = cluster.leader().client()
    for start in range(0, count, 100):
        client.call("kv/txn", {"success": [
            {"request_put": {"key": text64(f"many/{i:07}"), "value": text64(f"value of {i}")}}
            for i in range(start, start + 100)]}, 30)


def count_of(member):
    answer = member.client().call("kv/range", {"key": text64("many/"), "range_end": text64("many0"),
                                               "count_only": True}, 60)
    return int(answer["count"])


def a_big_snapshot_goes_both_ways():
    with mixed(["etcd"]) as cluster:
        cluster.start()
        fill(cluster, MANY)
        begin = time.monotonic()
        kvorum = cluster.add("kvorum", flags=flags_of("kvorum"))
        cluster.wait_ready([kvorum])
        print(f"etcd's {MANY} keys in Kvorum after {time.monotonic() - begin:.1f} s")
        assert count_of(kvorum) == MANY
        cluster.check_same()
        cluster.move_leader(kvorum)
        begin = time.monotonic()
        etcd = cluster.add("etcd", flags=flags_of("etcd"))
        cluster.wait_ready([etcd])
        print(f"Kvorum's {MANY} keys in etcd after {time.monotonic() - begin:.1f} s")
        assert count_of(etcd) == MANY
        cluster.check_same()
        for member in (kvorum, etcd):  # from what they have on disk
            member.kill()
            member.start(cluster.initial_cluster())
            cluster.wait_ready([member])
            assert count_of(member) == MANY
        cluster.check_same()


def v2(member, method, key, form=None):
    """Status, index and body of a request of the v2 API."""
    connection = http.client.HTTPConnection("127.0.0.1", member.client_port, timeout=20)
    try:
        connection.request(method, "/v2/keys" + key, urllib.parse.urlencode(form or {}) or None,
                           {"Content-Type": "application/x-www-form-urlencoded"})
        response = connection.getresponse()
        return response.status, response.getheader("X-Etcd-Index"), response.read().decode()
    finally:
        connection.close()


def v2_exercise(cluster, tag):
    """Every kind of write, each through another member."""
    members = [m for m in cluster.members if m.alive()]
    turn = iter(range(10**9))

    def do(expected, method, key, **form):
        member = members[next(turn) % len(members)]
        status, _, body = v2(member, method, f"/{tag}{key}", form)
        assert status == expected, (member.name, method, key, status, body)
        return json.loads(body)

    for i in range(20):
        do(201, "PUT", f"/k{i}", value=i)
    do(200, "PUT", "/k1", value="swapped", prevValue="1")
    do(412, "PUT", "/k1", value="x", prevValue="1")
    do(200, "PUT", "/k2", value="there", prevExist="true")
    do(412, "PUT", "/k2", value="x", prevExist="false")
    do(404, "PUT", "/nothing", value="x", prevExist="true")
    do(200, "DELETE", "/k3")
    do(412, "DELETE", "/k4?prevValue=5")
    do(200, "DELETE", "/k4?prevValue=4")
    do(201, "PUT", "/dir", dir="true", ttl=10000)
    do(201, "PUT", "/dir/in/_hidden", value="x")
    do(403, "DELETE", "/dir")
    for _ in members * 2:
        do(201, "POST", "/queue", value="next")
    for i in range(6):
        do(201, "PUT", f"/short{i}", value="gone", ttl=1 + i % 3)
    for member in members:  # what was acknowledged anywhere is there for who asks for that
        status, _, body = v2(member, "GET", f"/{tag}/k1?quorum=true")
        assert status == 200 and json.loads(body)["node"]["value"] == "swapped", (member.name, body)

    def expired():
        return all(v2(m, "GET", f"/{tag}/short{i}")[0] == 404 for m in members for i in range(6))
    wait_until(expired, "keys expire everywhere")


def check_v2_same(cluster):
    """The same answer and the same index on every member that runs."""
    def same():
        answers = {m.name: v2(m, "GET", "/?recursive=true&sorted=true") for m in cluster.members if m.alive()}
        if len({index for _, index, _ in answers.values()}) != 1:
            return None
        trees = {name: (status, re.sub(r'"ttl":\d+,', "", body)) for name, (status, _, body) in answers.items()}
        assert len(set(trees.values())) == 1, trees
        return True
    wait_until(same, "all members at the same v2 index")


def the_v2_api_is_one():
    with mixed(["etcd", "kvorum", "kvorum"]) as cluster:
        cluster.start()
        v2_exercise(cluster, "first")
        for kind in ("etcd", "kvorum"):
            cluster.move_leader(next(m for m in cluster.members if m.kind == kind))
            v2_exercise(cluster, f"led-by-{kind}")
            check_v2_same(cluster)
        load = Load(cluster, writers=3, readers=0)  # until there are snapshots, of either kind
        load.wait_for(2500)
        load.stop()
        for member in cluster.members:
            member.kill()
            member.start(cluster.initial_cluster())
            cluster.wait_ready([member])
            check_v2_same(cluster)
        for kind in ("kvorum", "etcd"):
            cluster.move_leader(next(m for m in cluster.members if m.kind != kind))
            guest = cluster.add(kind, flags=flags_of(kind))
            cluster.wait_ready([guest])
            v2_exercise(cluster, f"joined-by-{kind}")
            check_v2_same(cluster)
            cluster.remove(guest)
            guest.wait()
            check_v2_same(cluster)


def the_v2_api_waits_for_etcd():
    """A release without the v2 API must not see one of its requests."""
    with mixed(["kvorum", "kvorum"]) as cluster:
        cluster.start()
        for member in cluster.members:
            assert v2(member, "PUT", "/before", {"value": "1"})[0] in (200, 201)
        load = Load(cluster, writers=3, readers=0)
        load.wait_for(2500)  # the requests are behind a snapshot
        load.stop()
        guest = cluster.add("etcd", flags=flags_of("etcd"))
        cluster.wait_ready([guest])
        for member in cluster.members:
            if member.kind == "etcd":
                continue

            def refused(member=member):
                status, _, body = v2(member, "PUT", "/k", {"value": "1"})
                assert status >= 500, body
                return f"{guest.name} ({guest.id():x}, etcd" in body
            wait_until(refused, "a write is refused with the member's name")
            assert v2(member, "GET", "/?recursive=true")[0] == 200
        exercise(cluster, "goes-on")
        guest.kill()  # it was sent no keys that it would not start with
        guest.start(cluster.initial_cluster())
        cluster.wait_ready([guest])
        cluster.remove(guest)
        guest.wait()
        for member in cluster.members:
            wait_until(lambda member=member: v2(member, "PUT", "/k", {"value": "1"})[0] in (200, 201),
                       "writes go on without it")


def replace_all(cluster, kind):
    """Member by member: a new one joins, an old one leaves."""
    for old in list(cluster.members):
        new = cluster.add(kind, flags=flags_of(kind))
        cluster.wait_ready([new])
        cluster.remove(old)
        old.wait()


def rolling_migration_there_and_back():
    # The check waits for five seconds before each of the twelve changes.
    with mixed(["etcd"] * 3, ["--strict-reconfig-check=false"]) as cluster:
        cluster.start()
        load = Load(cluster, writers=3, readers=1)
        load.wait_for(300)
        replace_all(cluster, "kvorum")
        load.wait_for(200)
        assert all(m.kind == "kvorum" for m in cluster.members)
        exercise(cluster, "all-kvorum")
        replace_all(cluster, "etcd")
        load.wait_for(200)
        exercise(cluster, "all-etcd")
        load.stop()
        load.check()
        cluster.check_same()
        print(f"{len(load.acknowledged)} puts, {load.retries} retries, longest time without one "
              f"{load.longest_gap() * 1000:.0f} ms")


TESTS = [
    two_etcd_and_one_kvorum, one_etcd_and_two_kvorum, a_kvorum_joins_etcd, an_etcd_joins_kvorum,
    a_big_snapshot_goes_both_ways, rolling_migration_there_and_back,
    the_v2_api_is_one if HAS_V2 else the_v2_api_waits_for_etcd
]

if __name__ == "__main__":
    run_tests(TESTS)
