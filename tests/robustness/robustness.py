"""Clusters of real processes under faults, and whether their clients were told the truth.

One run is drawn from a seed: how many members, what their clients do, and which faults come how often. Nothing else
is repeatable: the machine's scheduling is not. kvorum-robustness is the clients and the judge.

usage: robustness.py --minutes N [--seed FIRST]    new seeds for a given time
       robustness.py --seed N                      one
       … --etcd PROGRAM [--mixed]                  the same of etcd, but for faults of disks and networks; mixed: of
                                                   clusters of both
"""

import argparse
import ctypes
import heapq
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
sys.path.insert(0, HERE)
# pylint: disable=wrong-import-position
import power
from cluster import KVORUM, LOST, Cluster, Refused, tail
from faults import ALL, ALWAYS, LOG, OTHERS, Faults
from relays import Relays

PROGRAMS = os.path.dirname(KVORUM)
FAILURES = os.path.join(HERE, "..", "..", "build", "robustness-failures")
VERDICTS = {0: "good", 2: "LIVENESS", 3: "SAFETY"}
# What the judge may take once the faults are over: health, leases, hashes, watches, each within its patience.
JUDGED_WITHIN = 300
# How long a member may run on after its disk failed.
ENDS_WITHIN = 10

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def die_with_parent():
    """Called in a new process: it does not outlive a run that is killed."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Plan:
    """What one run is made of. Times in seconds; of faults the mean time between two of a kind, 0: none."""

    def __init__(self, **changes):
        self.members = 3
        self.seconds = 10
        self.clients = 8
        self.watchers = 4
        self.leasers = 2
        self.keys = 16
        self.think_ms = 5
        self.value_bytes = 8
        self.snapshot_count = 500
        self.catchup = 100
        self.pre_vote = True
        self.batch_ms = 100
        self.compaction_batch = 1000
        self.sync_ms = 2
        self.torn = True
        self.early = False  # faults come before the cluster is there
        self.kill = 0
        self.power_cut = 0
        self.all_down = 0
        self.stop = 0
        self.cut = 0
        self.slow_link = 0
        self.slow_disk = 0
        self.sync_error = 0
        self.full_disk = 0
        self.defragment = 0
        self.move_leader = 0
        for name, value in changes.items():
            assert name in self.__dict__, name
            setattr(self, name, value)

    @staticmethod
    def draw(seed):
        r = random.Random(seed)
        plan = Plan(
            members=r.choice([1, 3, 3, 3, 5]), seconds=r.uniform(8, 25), clients=r.randint(1, 16),
            watchers=r.randint(0, 6), leasers=r.randint(0, 3), keys=r.randint(1, 40), think_ms=r.choice([1, 5, 20]),
            value_bytes=r.choice([8, 8, 100, 4000, 30000]), snapshot_count=r.choice([20, 100, 1000, 10000]),
            catchup=r.choice([5, 50, 5000]), pre_vote=r.random() < 0.8, sync_ms=r.choice([0, 2, 10]),
            torn=r.random() < 0.7, batch_ms=r.choice([10, 100, 2000]), early=r.random() < 0.3,
            compaction_batch=r.choice([5, 1000]))
        if plan.value_bytes > 10000:
            plan.clients = min(plan.clients, 8)
            plan.think_ms = 20
        for fault, low, high in (("kill", 1, 6), ("power_cut", 1, 6), ("stop", 1, 6), ("cut", 1, 6),
                                 ("slow_link", 2, 6), ("slow_disk", 2, 6), ("sync_error", 3, 8), ("full_disk", 3, 8),
                                 ("all_down", 4, 10), ("defragment", 2, 8), ("move_leader", 1, 5)):
            if r.random() < 0.45:
                setattr(plan, fault, r.uniform(low, high))
        return plan

    def of_etcd(self):
        """Only what can be done to any program: nothing is preloaded into a static one."""
        for fault in ("power_cut", "slow_link", "cut", "slow_disk", "sync_error", "full_disk"):
            setattr(self, fault, 0)
        self.kill = self.kill or 3
        return self

    def __str__(self):
        return " ".join(f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
                        for name, value in self.__dict__.items())


class Broken(Exception):
    """Something that no fault explains."""


class Play:
    """One run."""

    def __init__(self, seed, plan, lies=False, etcd=None, mixed=False):
        self.seed = seed
        self.plan = plan
        self.lies = lies
        self.etcd = etcd  # a program; None: Kvorum
        self.mixed = mixed  # some members of either
        self.random = random.Random(seed ^ 0x5eed)
        self.cluster = None
        self.relays = None
        self.faults = {}
        self.due = []  # a heap of (when, number, what)
        self.numbers = 0
        self.down_until = {}  # of members that do not run
        self.faults_before = {}  # of each member, when it was started
        self.failing = {}  # members the next sync of whose log fails: when it did, 0 before
        self.over = False
        self.begin = time.monotonic()
        self.told = []
        self.judge = None

    # What happens, as it is told.

    def say(self, what):
        self.told.append(f"{time.monotonic() - self.begin:10.6f} {what}")

    def after(self, delay, what):
        self.numbers += 1
        heapq.heappush(self.due, (time.monotonic() + delay, self.numbers, what))

    def recurring(self, mean, fault):
        def again():
            if self.over:
                return
            fault()
            self.after(self.random.uniform(0, 2 * mean), again)

        if mean:
            self.after(self.random.uniform(0, 2 * mean), again)

    def run(self, folder):
        """(verdict, text); what is worth keeping of a failure is in `folder`."""
        plan = self.plan
        flags = [
            "--snapshot-count", str(plan.snapshot_count), f"--pre-vote={'true' if plan.pre_vote else 'false'}",
            "--heartbeat-interval", "50", "--election-timeout", "500", "--backend-batch-interval", f"{plan.batch_ms}ms"
        ]
        kinds = ["etcd" if self.etcd else "kvorum"] * plan.members
        if self.mixed:
            kinds = [self.random.choice(["etcd", "kvorum"]) for _ in kinds]
        with Cluster(kinds, flags) as cluster:
            self.cluster = cluster
            for member in cluster.members:
                if member.kind == "etcd":
                    member.program = self.etcd
                else:
                    member.flags += [
                        "--snapshot-catchup-entries", str(plan.catchup), "--watch-progress-notify-interval", "500ms",
                        "--compaction-batch-limit", str(plan.compaction_batch)
                    ]
            try:
                self.prepare()
                self.disturb()
                verdict, text = self.settle()
            except (Broken, AssertionError) as error:
                verdict, text = "BROKEN", str(error)
            finally:
                if self.judge:
                    self.judge.kill()
                for member in cluster.members:
                    member.kill()
                if self.relays:
                    self.relays.close()
            if verdict != "good":
                self.keep(folder)
        if os.environ.get("KVORUM_TEST_TELL"):
            print("\n".join(self.told))
        return verdict, text

    def prepare(self):
        members = self.cluster.members
        if len(members) > 1 and not self.etcd:
            self.relays = Relays(members)
        for member in members:
            self.faults[member] = Faults(member)
            member.preexec = die_with_parent
            if member.kind == "kvorum":
                member.environment = self.faults[member].environment(PROGRAMS)
            self.faults[member]["sync_delay_us"] = self.plan.sync_ms * 1000
            if self.relays:
                self.faults[member].redirect({
                    other.listen_port: self.relays.ports[member.name, other.name]
                    for other in members if other is not member})
        for member in members:
            self.start(member)
        if not self.plan.early:
            self.cluster.wait_ready()
        history = os.path.join(self.cluster.folder, "history.txt")
        plan = self.plan
        self.judge = subprocess.Popen([
            os.path.join(PROGRAMS, "kvorum-robustness"), "--endpoints",
            ",".join(f"{m.name}={m.endpoint}" for m in members), "--seed", str(self.seed), "--clients",
            str(plan.clients), "--watchers", str(plan.watchers), "--leasers", str(plan.leasers), "--keys",
            str(plan.keys), "--think-ms", str(plan.think_ms), "--value-bytes", str(plan.value_bytes), "--history",
            history
        ], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        words = self.judge.stdout.readline().split()
        assert words[:2] == ["begins", "at"], words
        self.begin = int(words[2]) / 1e9

    # Processes.

    def start(self, member):
        self.faults_before[member] = self.faults[member]["faults"]
        self.failing.pop(member, None)
        member.start(self.cluster.initial_cluster())
        self.say(f"{member.name} starts")

    def kill(self, *members, power_cut=False):
        killed = [member for member in members if member.alive()]
        for member in killed:
            member.kill()
        for member in killed:
            self.died(member, f"{member.name} {'loses power' if power_cut else 'is killed'}", power_cut)

    def died(self, member, how, power_cut):
        if power_cut:
            how += ": " + power.cut(self.faults[member].directory, self.random, self.plan.torn)
        self.say(how)
        self.down_until[member] = time.monotonic() + self.random.uniform(0, 2)

    def supervise(self):
        """Starts who is down, and looks who ended."""
        for member in self.cluster.members:
            faults = self.faults[member]
            if member.process.poll() is not None and member not in self.down_until:
                status = member.process.returncode
                # A disk that failed is a reason to end, and none to crash.
                if status < 0 or faults["faults"] == self.faults_before[member]:
                    raise Broken(f"{member.name} ended by itself, with status {status}:\n{tail(member.log_path, 15)}")
                self.died(member, f"{member.name} ended with status {status}, its disk having failed",
                          self.random.random() < 0.5)
            elif member in self.failing and faults["fail_syncs"] == 0:
                # It may not go on: what it knows of the log on its disk may be wrong.
                self.failing[member] = self.failing[member] or time.monotonic()
                if time.monotonic() > self.failing[member] + ENDS_WITHIN:
                    raise Broken(f"{member.name} goes on after a sync of its log failed")
            if member in self.down_until and time.monotonic() >= self.down_until[member]:
                del self.down_until[member]
                self.start(member)

    # Faults.

    def any(self):
        return self.random.choice(self.cluster.members)

    def disturb(self):
        plan = self.plan
        self.recurring(plan.kill, lambda: self.kill(self.any()))
        self.recurring(plan.power_cut, lambda: self.kill(self.any(), power_cut=True))
        self.recurring(plan.all_down, self.all_down)
        self.recurring(plan.stop, self.stop)
        self.recurring(plan.slow_disk, self.slow_disk)
        self.recurring(plan.sync_error, self.sync_error)
        self.recurring(plan.full_disk, self.full_disk)
        self.recurring(plan.defragment, lambda: self.ask("maintenance/defragment", {}))
        if self.relays:
            self.recurring(plan.cut, self.cut)
            self.recurring(plan.slow_link, self.slow_link)
        if plan.members > 1:
            self.recurring(plan.move_leader, self.move_leader)
        if self.lies:
            self.after(plan.seconds / 3, self.lie)
        end = time.monotonic() + plan.seconds
        while time.monotonic() < end:
            while self.due and self.due[0][0] <= time.monotonic():
                heapq.heappop(self.due)[2]()
            self.supervise()
            time.sleep(0.01)

    def all_down(self):
        self.kill(*self.cluster.members, power_cut=not self.etcd and self.random.random() < 0.5)

    def stop(self):
        member = self.any()
        if not member.alive():
            return
        process = member.process
        process.send_signal(signal.SIGSTOP)
        self.say(f"{member.name} is stopped")

        def go_on():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                self.say(f"{member.name} goes on")

        self.after(self.random.uniform(0, 3), go_on)

    def slow_disk(self):
        member = self.any()
        self.faults[member]["sync_delay_us"] = self.random.choice([50_000, 300_000, 1_000_000])
        self.say(f"the disk of {member.name} is slow")

        def fast():
            self.faults[member]["sync_delay_us"] = self.plan.sync_ms * 1000

        self.after(self.random.uniform(0.2, 3), fast)

    def sync_error(self):
        member = self.any()
        if not member.alive():
            return
        scope = self.random.choice([LOG, OTHERS])
        self.faults[member]["scope"] = scope
        self.faults[member]["fail_syncs"] = 1
        if scope == LOG:
            self.failing[member] = 0
        else:
            self.failing.pop(member, None)
        self.say(f"the next sync of {member.name} fails, of {'its log' if scope == LOG else 'other files'}")

    def full_disk(self):
        member = self.any()
        self.failing.pop(member, None)  # the sync that fails may now be another file's
        self.faults[member]["scope"] = self.random.choice([ALL, LOG, OTHERS])
        self.faults[member]["fail_writes"] = ALWAYS
        self.say(f"the disk of {member.name} is full")

        def empty():
            self.faults[member]["fail_writes"] = 0
            self.say(f"the disk of {member.name} has room")

        self.after(self.random.uniform(0.2, 3), empty)

    def cut(self):
        alone = self.any()
        others = [m for m in self.cluster.members if m is not alone and self.random.random() < 0.8]
        ways = self.random.choice(["in", "out", "both", "both"])
        cut = [(o.name, alone.name) for o in others] if ways != "out" else []
        cut += [(alone.name, o.name) for o in others] if ways != "in" else []
        self.relays.cut(cut)
        self.say(f"cut: {', '.join(f'{a} to {b}' for a, b in cut)}")
        self.after(self.random.uniform(0.1, 4), self.heal)

    def slow_link(self):
        ways = self.random.sample(sorted(self.relays.ways), self.random.randint(1, len(self.relays.ways)))
        delay = self.random.uniform(0.002, 0.2)
        self.relays.slow(ways, delay)
        self.say(f"slow by {delay:.3f} s: {', '.join(f'{a} to {b}' for a, b in ways)}")
        self.after(self.random.uniform(0.5, 4), self.heal)

    def heal(self):
        lose = self.random.random() < 0.5
        self.relays.heal(lose)
        self.say(f"the network is whole; what waited {'is lost' if lose else 'comes late'}")

    def ask(self, path, body, member=None):
        """A call that may fail."""
        member = member or self.any()
        client = member.client()
        try:
            client.call(path, body, timeout=1)
            self.say(f"{member.name} did {path}")
        except (Refused, *LOST) as error:
            self.say(f"{member.name} did not do {path}: {error}")
        finally:
            client.close()

    def move_leader(self):
        found = {}
        for member in self.cluster.members:
            client = member.client()
            try:
                found[member] = client.status(timeout=0.3)
            except (Refused, *LOST):
                pass
            finally:
                client.close()
        leaders = [m for m, s in found.items() if s.get("leader") == s["header"]["member_id"]]
        if leaders and len(found) > 1:
            target = self.random.choice([m for m in found if m is not leaders[0]])
            self.ask("maintenance/transfer-leadership", {"targetID": found[target]["header"]["member_id"]}, leaders[0])

    def lie(self):
        """The disks of all members say that they synced, and did not; then all lose power."""
        for faults in self.faults.values():
            faults["lie"] = 1
        self.say("the disks lie")

        def truth():
            self.kill(*self.cluster.members, power_cut=True)
            for faults in self.faults.values():
                faults["lie"] = 0

        self.after(self.plan.seconds / 3, truth)

    # The end.

    def settle(self):
        self.over = True
        self.due = []
        self.failing = {}
        if self.relays:
            self.heal()
        for member in self.cluster.members:
            self.faults[member].end()
            if member.alive():
                member.signal(signal.SIGCONT)
        self.say("the faults end")
        self.judge.stdin.write("the faults are over\n")
        self.judge.stdin.flush()
        end = time.monotonic() + JUDGED_WITHIN
        while self.judge.poll() is None and time.monotonic() < end:
            self.supervise()
            time.sleep(0.02)
        if self.judge.poll() is None:
            return "LIVENESS", f"no verdict after {JUDGED_WITHIN} s"
        text = self.judge.stdout.read()
        return VERDICTS.get(self.judge.returncode, f"CRASH of the judge ({self.judge.returncode})"), text

    def keep(self, folder):
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "faults.txt"), "w") as file:
            file.write(f"seed {self.seed}: {self.plan}\n" + "\n".join(self.told) + "\n")
        with open(os.path.join(folder, "plan.json"), "w") as file:
            json.dump(self.plan.__dict__, file)
        for name in sorted(os.listdir(self.cluster.folder)):
            path = os.path.join(self.cluster.folder, name)
            if os.path.isfile(path):
                shutil.copy(path, folder)


def run(seed, plan, failures=FAILURES, **how):
    """(verdict, text)."""
    folder = os.path.join(failures, str(seed))
    begin = time.monotonic()
    verdict, text = Play(seed, plan, **how).run(folder)
    text = f"seed {seed}: {verdict}, {time.monotonic() - begin:.0f} s: {text.rstrip()}"
    if verdict != "good":
        text += f"\n  {plan}\n  history, logs and faults are in {os.path.realpath(folder)}"
    return verdict, text


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--failures", default=FAILURES, help="folder for what failed")
    parser.add_argument("--etcd", help="a program")
    parser.add_argument("--mixed", action="store_true")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else int(time.time()) * 1000
    end = time.monotonic() + 60 * arguments.minutes
    runs = failed = 0
    while runs == 0 or time.monotonic() < end:
        plan = Plan.draw(seed)
        if arguments.etcd:
            plan.of_etcd()
        verdict, text = run(seed, plan, arguments.failures, etcd=arguments.etcd, mixed=arguments.mixed)
        print(text, flush=True)
        runs += 1
        failed += verdict != "good"
        seed += 1
    print(f"{runs} seeds, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
