"""`etcdctl backup` of Debian's etcd 3.4 over the directories of Kvorum and of etcd. usage: v2_backup_test.py TEST"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from cluster import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position
from v2 import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position

FLAGS = {
    "kvorum": ["--enable-v2", "--snapshot-count=50", "--cluster-version-limit=3.4"],
    "etcd": ["--enable-v2", "--snapshot-count=50"]
}


def tree_of(member):
    answer = v2(member).get("/", recursive=True, sorted=True)
    assert answer.status == 200, answer
    return re.sub(r',"ttl":-?\d+', "", answer.text)


V3_KEYS = 5


def fill(member):
    """Keys of both APIs, in snapshots of v2 and behind the last one. Gives the index of the last write, one of v2."""
    client = v2(member)
    for i in range(120):
        assert client.put(f"/dir/{i % 37}", f"value {i}", **({"ttl": 1000} if i % 3 == 0 else {})).status in (200, 201)
    for i in range(V3_KEYS):
        member.client().put(f"v3/{i}", str(i))
    for i in range(9):
        assert client.post("/queue", str(i)).status == 201
    last = client.delete("/dir/5")
    assert last.status == 200, last
    return int(last.headers["x-raft-index"])


def backup(member, target, *flags):
    return subprocess.run(["etcdctl", "backup", "--data-dir", member.directory, "--backup-dir", target, *flags],
                          env=dict(os.environ, ETCDCTL_API="2"), capture_output=True, text=True, timeout=PATIENCE,
                          check=False)


def check_starts(kind, directory, tree):
    """A member of this kind starts from the backup, alone, with the keys of v2, and goes on as any other."""
    with Cluster([]) as cluster:
        member = cluster.new_member(kind, flags=FLAGS[kind])
        shutil.copytree(directory, member.directory)
        member.start(extra=["--force-new-cluster"])
        cluster.wait_ready()
        assert tree_of(member) == tree, (tree_of(member), tree)
        members = v2(member).call("GET", "/v2/members").body["members"]
        assert len(members) == 1 and f"{member.id():x}" == members[0]["id"], members
        if kind == "etcd":  # it never takes its URL from the command line then
            client = v2(member)
            answer = client.call("PUT", f"/v2/members/{members[0]['id']}", headers={"Content-Type": "application/json"},
                                 body=json.dumps({"peerURLs": [member.peer_url]}))
            assert answer.status == 204, answer
        assert v2(member).put("/dir/1", "after").status == 200
        member.terminate()
        member.start()
        cluster.wait_ready()
        assert v2(member).get("/dir/1").node["value"] == "after"
        second = cluster.add("kvorum", flags=["--cluster-version-limit=3.4"])
        wait_until(lambda: second.serves() and tree_of(second) == tree_of(member), "another member has the keys")


def backups_of(kind):
    """The directories of a backup while the member runs, and of one after it stopped; the tree of both."""
    with Cluster([]) as cluster:
        member = cluster.new_member(kind, flags=FLAGS[kind])
        cluster.start()
        last = fill(member)
        tree = tree_of(member)
        # What is committed is known to be so in the files a moment later, as in etcd's clusters of several.
        for state in ("running", "stopped"):
            target = os.path.join(cluster.folder, state)

            def whole(target=target):
                shutil.rmtree(target, ignore_errors=True)
                result = backup(member, target)
                assert result.returncode == 0, result
                return committed(target) >= last - V3_KEYS  # which are left out
            wait_until(whole, "the backup has everything")
            yield target, tree
            if state == "running":
                member.terminate()


def committed(directory):
    """The last entry that the log of a backup knows to be committed, by what etcdctl wrote into its database."""
    with open(os.path.join(directory, "member", "snap", "db"), "rb") as database:
        found = re.findall(rb"consistent_index(.{8})", database.read(), re.DOTALL)
    assert found, "the backup has a database"
    return max(int.from_bytes(number, "big") for number in found)


def backups_start_everywhere(kind):
    for directory, tree in backups_of(kind):
        check_starts("kvorum", directory, tree)
        check_starts("etcd", directory, tree)


def a_backup_of_kvorum_starts_etcd_and_kvorum():
    backups_start_everywhere("kvorum")


def a_backup_of_etcd_starts_etcd_and_kvorum():
    backups_start_everywhere("etcd")


def a_backup_with_v3_fails_and_does_no_harm():
    """There is no database of etcd: etcdctl makes an empty file and says that it cannot write it."""
    with Cluster(["kvorum"], ["--enable-v2"]) as cluster:
        cluster.start()
        member = cluster.members[0]
        fill(member)
        tree = tree_of(member)
        for state in ("running", "stopped"):
            result = backup(member, os.path.join(cluster.folder, state), "--with-v3")
            assert result.returncode == 1 and "snap/db" in result.stderr, result
            left = os.path.join(member.directory, "member", "snap", "db")
            assert os.path.getsize(left) == 0
            member.terminate()
            member.start()
            cluster.wait_ready()
            assert tree_of(member) == tree and member.client().get("v3/4") == "4"
            assert not os.path.exists(left)
            if state == "running":
                member.terminate()


TESTS = [
    a_backup_of_kvorum_starts_etcd_and_kvorum, a_backup_of_etcd_starts_etcd_and_kvorum,
    a_backup_with_v3_fails_and_does_no_harm
]

if __name__ == "__main__":
    run_tests(TESTS)
