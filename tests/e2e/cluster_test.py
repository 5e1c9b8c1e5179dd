"""Clusters of Kvorum processes under faults. usage: cluster_test.py TEST

Each test prints how long there was no service, and fails by an exception.
"""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from cluster import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position

# Snapshots and short logs, so that faults meet them too.
SMALL = ["--snapshot-count=500", "--snapshot-catchup-entries=100"]


def kvorums(count, flags=(), proxied=False):
    return Cluster(["kvorum"] * count, flags, proxied)


def finish(cluster, load):
    """The cluster is whole again: everything is there, everywhere the same."""
    cluster.wait_ready()
    load.stop()
    load.check()
    cluster.check_same()
    print(f"{len(load.acknowledged)} puts acknowledged, {load.reads} reads, {load.retries} retries, longest time "
          f"without a put {load.longest_gap() * 1000:.0f} ms")


def three_members_form_a_cluster():
    with kvorums(3) as cluster:
        begin = time.monotonic()
        cluster.start()
        print(f"ready after {(time.monotonic() - begin) * 1000:.0f} ms")
        for member in cluster.members:  # every one serves every request
            client = member.client()
            client.put("from/" + member.name, member.name)
            assert len(client.members()) == 3
        for member in cluster.members:
            assert len(member.client().prefix("from/")) == 3
        cluster.check_same()
        for member in cluster.members:
            assert member.terminate() == -signal.SIGTERM
        for member in cluster.members:  # whatever the flags now say
            member.start("nonsense=http://127.0.0.1:1")
        cluster.wait_ready()
        assert len(cluster.any_client().prefix("from/")) == 3


def a_leader_that_stops_hands_over():
    with kvorums(3) as cluster:
        cluster.start()
        load = Load(cluster, writers=4)
        load.wait_for(200)
        leader = cluster.leader()
        since = time.monotonic()
        leader.terminate()
        load.wait_for(200)
        print(f"no put for {load.longest_gap(since) * 1000:.0f} ms")
        leader.start()
        finish(cluster, load)


def leaders_are_killed():
    with kvorums(3, SMALL) as cluster:
        cluster.start()
        load = Load(cluster)
        load.wait_for(300)
        for _ in range(5):
            leader = cluster.leader()
            since = time.monotonic()
            leader.kill()
            load.wait_for(300)
            print(f"{leader.name} killed: no put for {load.longest_gap(since) * 1000:.0f} ms")
            leader.start()
            cluster.wait_ready([leader])
        finish(cluster, load)


def two_of_five_are_killed():
    with kvorums(5, SMALL) as cluster:
        cluster.start()
        load = Load(cluster)
        load.wait_for(200)
        for _ in range(2):
            leader = cluster.leader()
            victims = [leader, cluster.followers()[0]]
            since = time.monotonic()
            for member in victims:
                member.kill()
            load.wait_for(200)
            print(f"leader and another killed: no put for {load.longest_gap(since) * 1000:.0f} ms")
            for member in victims:
                member.start()
            cluster.wait_ready(victims)
        finish(cluster, load)


def everybody_is_killed():
    with kvorums(3, SMALL) as cluster:
        cluster.start()
        load = Load(cluster)
        for _ in range(3):
            load.wait_for(500)
            since = time.monotonic()
            for member in cluster.members:
                member.kill()
            for member in cluster.members:
                member.start()
            cluster.wait_ready()
            load.wait_for(10)
            print(f"all killed: no put for {load.longest_gap(since) * 1000:.0f} ms")
        finish(cluster, load)


def members_are_stopped_and_continued():
    with kvorums(3, SMALL) as cluster:
        cluster.start()
        load = Load(cluster)
        load.wait_for(200)
        for who in (cluster.leader(), cluster.followers()[0], cluster.leader()):
            since = time.monotonic()
            who.signal(signal.SIGSTOP)
            load.wait_for(600)
            gap = load.longest_gap(since)
            who.signal(signal.SIGCONT)
            load.wait_for(200)
            print(f"{who.name} stood still: no put for {gap * 1000:.0f} ms")
            cluster.wait_ready([who])
        finish(cluster, load)


def a_leader_is_cut_off():
    with kvorums(3, SMALL, proxied=True) as cluster:
        cluster.start()
        load = Load(cluster, timeout=1)
        load.wait_for(200)
        for _ in range(2):
            leader = cluster.leader()
            others = [m for m in cluster.members if m is not leader]
            since = time.monotonic()
            cluster.proxies.cut_off(leader)
            load.wait_for(600)
            print(f"leader cut off: no put for {load.longest_gap(since) * 1000:.0f} ms")
            wait_until(lambda: cluster.leader() in others, "the others have a leader")
            client = leader.client()
            try:
                client.get("x", timeout=3)
                raise AssertionError("a member without a quorum answered a linearizable read")
            except (Refused, *LOST):
                pass
            client.close()
            client.get("x", serializable=True)
            cluster.proxies.heal()
            cluster.wait_ready([leader])
        finish(cluster, load)


def a_minority_accepts_nothing():
    with kvorums(3, proxied=True) as cluster:
        cluster.start()
        cluster.any_client().put("before", "1")
        leader = cluster.leader()
        cluster.proxies.cut_off(*cluster.members[:1])
        cluster.proxies.cut_off(*cluster.members[1:2])
        for member in cluster.members:
            client = member.client()
            try:
                client.put("lost", member.name, timeout=2)
                raise AssertionError(f"{member.name} accepted a put alone")
            except (Refused, *LOST):
                pass
            client.close()
        cluster.proxies.heal()
        begin = time.monotonic()
        cluster.wait_ready()
        print(f"service {(time.monotonic() - begin) * 1000:.0f} ms after the network ({leader.name} led)")
        assert cluster.any_client().get("before") == "1"
        cluster.check_same()


def a_disk_is_full():
    with kvorums(3) as cluster:
        victim = cluster.members[0]
        os.mkdir(victim.directory)
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", victim.directory],
                               capture_output=True, text=True, check=False)
        if mount.returncode == 0:
            fill = os.path.join(victim.directory, "..fill")
            what = "its file system"
        else:
            # Where nothing may be mounted, a limit on the size of files stands for the disk.
            import resource  # pylint: disable=import-outside-toplevel
            victim.preexec = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (80 << 20, 80 << 20))
            fill = None
            what = "its files"
        try:
            cluster.start()
            load = Load(cluster, writers=4, value="x" * 20000)
            load.wait_for(100)
            if fill:
                with open(fill, "wb", buffering=0) as filler:
                    try:
                        while True:
                            filler.write(b"\0" * 65536)
                    except OSError:
                        pass
            since = time.monotonic()
            wait_until(lambda: not victim.alive(), "the member without a disk stops")
            load.wait_for(200)
            print(f"{what} full: exit status {victim.wait()}, no put for {load.longest_gap(since) * 1000:.0f} ms")
            assert victim.wait() == 1, victim.wait()
            if fill:
                os.unlink(fill)
            victim.preexec = None
            victim.start()
            finish(cluster, load)
        finally:
            if mount.returncode == 0:
                victim.kill()
                subprocess.run(["umount", "-l", victim.directory], check=False)


def a_disk_is_slow():
    """First a follower's: the others wait for it in nothing. Then the leader's: it goes on leading."""
    with kvorums(3, SMALL) as cluster:
        slow = cluster.members[0]
        slow.sync_milliseconds = 300
        cluster.start()
        cluster.move_leader(cluster.members[1])
        load = Load(cluster, writers=4)
        since = time.monotonic()
        load.wait_for(2000)
        print(f"a follower's disk is slow: 2,000 puts in {time.monotonic() - since:.1f} s, no put for "
              f"{load.longest_gap(since) * 1000:.0f} ms")
        assert cluster.leader() is cluster.members[1]
        cluster.move_leader(slow)
        since = time.monotonic()
        load.wait_for(100)
        before = slow.status()["raftTerm"]
        begin = time.monotonic()
        slow.client().get("k")
        print(f"the leader's disk is slow: no put for {load.longest_gap(since) * 1000:.0f} ms, a linearizable read in "
              f"{(time.monotonic() - begin) * 1000:.0f} ms")
        load.wait_for(2000)
        assert slow.status()["raftTerm"] == before
        load.stop()
        slow.kill()
        slow.sync_milliseconds = 0
        slow.start()
        finish(cluster, load)


def members_come_and_go():
    with kvorums(1, SMALL) as cluster:
        cluster.start()
        first = cluster.members[0]
        load = Load(cluster, writers=4)
        load.wait_for(1500)  # a new member is sent a snapshot
        for _ in range(2):
            member = cluster.add("kvorum")
            cluster.wait_ready([member])
        listing = cluster.etcdctl("member", "list")
        assert listing.count("started") == 3, listing

        learner = cluster.add("kvorum", learner=True)
        running = [m for m in cluster.members if m is not learner]
        number = f"{learner.id():x}"

        def promoted():
            result = cluster.etcdctl("member", "promote", number, members=running, check=False)
            assert result.returncode == 0 or "in sync" in result.stderr, result.stderr
            return result.returncode == 0

        wait_until(promoted, "the learner has caught up")
        cluster.wait_ready([learner])
        learner.learner = False
        assert "IsLearner:true" not in cluster.etcdctl("member", "list")

        cluster.move_leader(learner)
        load.wait_for(100)
        load.cluster = type("Rest", (), {"members": [m for m in cluster.members if m is not first]})
        removed = cluster.remove(first)
        assert removed.wait() == 0, removed.log()[-2000:]
        log = removed.log()
        assert "the member has been permanently removed from the cluster" in log, log[-2000:]
        assert "data-dir used by this member must be removed" in log, log[-2000:]
        load.wait_for(100)
        removed.start()  # it does not come back
        assert removed.wait() == 0, removed.log()[-2000:]
        finish(cluster, load)


def a_member_is_replaced_and_another_moves():
    with kvorums(3, SMALL) as cluster:
        cluster.start()
        load = Load(cluster, writers=4)
        load.wait_for(300)

        # Replacement: what is lost goes first, then the new one comes.
        lost = cluster.followers()[0]
        lost.kill()
        shutil.rmtree(lost.directory)
        cluster.remove(lost)
        member = cluster.add("kvorum", "replacement")
        cluster.wait_ready([member])
        load.wait_for(100)

        # Migration: stop, copy, tell the cluster, start there.
        moving = cluster.followers()[0]
        number = f"{moving.id():x}"
        moving.terminate()
        shutil.copytree(moving.directory, moving.directory + "-elsewhere")
        shutil.rmtree(moving.directory)
        moving.directory += "-elsewhere"
        moving.listen_port = moving.advertised_port = free_port()
        cluster.etcdctl("member", "update", number, "--peer-urls", moving.peer_url)
        moving.start()
        cluster.wait_ready([moving])
        leader = cluster.leader()
        leader.kill()  # the moved one is needed now
        load.wait_for(100)
        leader.start()
        finish(cluster, load)


def a_follower_that_was_away_gets_a_snapshot():
    with kvorums(3, SMALL) as cluster:
        cluster.start()
        away = cluster.followers()[0]
        away.kill()
        load = Load(cluster, writers=8)
        load.wait_for(2500)
        away.start()
        begin = time.monotonic()
        cluster.wait_ready([away])
        print(f"caught up after {(time.monotonic() - begin) * 1000:.0f} ms")
        finish(cluster, load)
        assert "applied snapshot" in away.log(), away.log()[-3000:]
        away.kill()  # what came with the snapshot is on its disk
        away.start()
        cluster.wait_ready([away])
        load.check([away])


class Watcher:
    """Follows a prefix through the gateway, on another member whenever one goes away."""

    def __init__(self, cluster, prefix):
        self.cluster = cluster
        self.prefix = prefix
        self.events = []
        self.stopping = False
        self.changes = 0
        self.error = None
        self.thread = threading.Thread(target=self._guard, daemon=True)
        self.thread.start()

    def _guard(self):
        try:
            self._run()
        except Exception as error:  # pylint: disable=broad-except
            self.error = repr(error)

    def _run(self):
        next_revision = 1
        turn = 0
        end = self.prefix[:-1] + chr(ord(self.prefix[-1]) + 1)
        while not self.stopping:
            member = self.cluster.members[turn % len(self.cluster.members)]
            turn += 1
            connection = http.client.HTTPConnection("127.0.0.1", member.client_port, timeout=3)
            try:
                connection.request("POST", "/v3/watch", json.dumps({"create_request": {
                    "key": text64(self.prefix), "range_end": text64(end), "start_revision": str(next_revision)}}))
                response = connection.getresponse()
                while not self.stopping:
                    line = response.readline()
                    if not line:
                        break
                    message = json.loads(line)
                    for event in message.get("result", {}).get("events", []):
                        revision = int(event["kv"]["mod_revision"])
                        self.events.append((revision, plain(event["kv"]["key"])))
                        next_revision = max(next_revision, revision + 1)
            except (*LOST, ValueError):
                pass
            connection.close()
            self.changes += 1

    def stop(self, last_revision):
        wait_until(lambda: self.error or (self.events and self.events[-1][0] >= last_revision),
                   f"the watcher has seen revision {last_revision}")
        self.stopping = True
        assert self.error is None, self.error


def watchers_miss_nothing():
    with kvorums(3, SMALL) as cluster:
        cluster.start()
        watchers = [Watcher(cluster, "load/") for _ in range(3)]
        load = Load(cluster, readers=0)
        for _ in range(3):
            load.wait_for(300)
            leader = cluster.leader()
            leader.kill()
            load.wait_for(300)
            leader.start()
            cluster.wait_ready([leader])
        finish(cluster, load)
        history = sorted((revision, key) for key, revision in load.acknowledged.items())
        for watcher in watchers:
            watcher.stop(history[-1][0])
            revisions = [revision for revision, _ in watcher.events]
            assert revisions == sorted(set(revisions)), "events out of order, or twice"
            missing = set(history) - set(watcher.events)
            # A put that was tried again has more than one revision, of which the last was acknowledged.
            assert not missing, f"{len(missing)} events are missing: {sorted(missing)[:5]}"
        print(f"{sum(w.changes for w in watchers)} changes of the member watched")


def leases_outlive_their_leader():
    with kvorums(3) as cluster:
        cluster.start()
        ttl = 3
        client = cluster.followers()[0].client()
        kept = int(client.call("lease/grant", {"TTL": ttl})["ID"])
        left = int(client.call("lease/grant", {"TTL": ttl})["ID"])
        client.put("kept", "1", lease=kept)
        client.put("left", "1", lease=left)

        def keep():
            """Renews on any member, as often as one answers."""
            for member in cluster.members:
                renewer = member.client()
                try:
                    answer = renewer.call("lease/keepalive", {"ID": str(kept)}, 2)
                    if int(answer.get("result", {}).get("TTL", 0)) == ttl:
                        return True
                except (Refused, *LOST):
                    pass
                finally:
                    renewer.close()
            return False

        cluster.leader().kill()
        wait_until(keep, "a lease is renewed after the leader's death")
        survivors = [m for m in cluster.members if m.alive()]

        def left_is_gone():
            keep()
            reader = survivors[0].client()
            try:
                return reader.get("left") is None
            except (Refused, *LOST):
                return False
            finally:
                reader.close()

        begin = time.monotonic()
        wait_until(left_is_gone, "the lease nobody renews runs out")
        print(f"the other lease ran out {time.monotonic() - begin:.1f} s later (TTL {ttl} s)")
        assert survivors[0].client().get("kept") == "1"
        for member in cluster.members:
            if not member.alive():
                member.start()
        cluster.wait_ready()
        cluster.check_same()


def a_new_cluster_is_forced():
    with kvorums(3, SMALL) as cluster:
        cluster.start()
        load = Load(cluster, writers=4)
        load.wait_for(900)
        source = cluster.followers()[0]
        source.kill()  # in the middle
        load.wait_for(100)
        load.stop()
        before = [key for key, revision in load.acknowledged.items()]
        for member in cluster.members:
            member.kill()
        alone = cluster.members[cluster.members.index(source)]
        cluster.members = [alone]
        for extra in (["--force-new-cluster"], ["--force-new-cluster"], ["--force-new-cluster=false"]):
            alone.start(extra=extra)
            cluster.wait_ready()
            assert len(cluster.members_listed()) == 1, cluster.members_listed()
            found = alone.client().prefix("load/")
            if extra == ["--force-new-cluster"]:
                held = set(found)
            assert set(found) == held, "another start has other keys"
            alone.client().put("load/forced" + extra[0], "1")
            held.add("load/forced" + extra[0])
            alone.terminate()
        # All that was written up to the kill of its member; what the log did not yet know to be agreed on may
        # be gone.
        position = max((i for i, key in enumerate(before) if key in held), default=0)
        lost = [key for key in before[:position + 1] if key not in held]
        print(f"{len(held)} keys kept; {len(lost)} of those acknowledged in between are not there")
        assert len(held) > 800, len(held)
        alone.start()
        cluster.wait_ready()
        cluster.flags = SMALL
        for _ in range(2):
            member = cluster.add("kvorum", f"grown{_}")
            cluster.wait_ready([member])
        cluster.check_same()


TESTS = [
    three_members_form_a_cluster, a_leader_that_stops_hands_over, leaders_are_killed, two_of_five_are_killed,
    everybody_is_killed, members_are_stopped_and_continued, a_leader_is_cut_off, a_minority_accepts_nothing,
    a_disk_is_full, a_disk_is_slow, members_come_and_go, a_member_is_replaced_and_another_moves,
    a_follower_that_was_away_gets_a_snapshot, watchers_miss_nothing, leases_outlive_their_leader,
    a_new_cluster_is_forced
]

if __name__ == "__main__":
    run_tests(TESTS)
