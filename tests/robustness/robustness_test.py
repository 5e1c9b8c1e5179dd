"""A fixed set of clusters of real processes under faults; see robustness.py."""

import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
# pylint: disable=wrong-import-position
from cluster import run_tests
from robustness import Plan, run


def good(seed, **plan):
    verdict, text = run(seed, Plan(**plan))
    assert verdict == "good", text
    print(text)


def one_member_loses_power():
    good(1, members=1, seconds=7, power_cut=1.5, kill=3, all_down=5, slow_disk=4, snapshot_count=100)


def members_are_killed_and_stopped():
    good(2, seconds=8, kill=1.5, stop=2, all_down=6, snapshot_count=100, catchup=20, leasers=3)


def members_are_cut_off():
    good(3, seconds=8, cut=2, slow_link=3, move_leader=2, leasers=3)


def disks_fail():
    good(4, seconds=8, power_cut=1.5, sync_error=1.5, full_disk=2, slow_disk=3, snapshot_count=200, catchup=50)


def five_members_have_everything():
    good(5, members=5, seconds=9, kill=3, power_cut=4, stop=4, cut=4, sync_error=6, defragment=3, move_leader=4,
         snapshot_count=300, catchup=50, clients=12)


def writes_that_were_acknowledged_and_lost_are_found():
    """All disks say that they synced and did not, and lose power: what the clients were told is not so."""
    with tempfile.TemporaryDirectory() as folder:
        verdict, text = run(6, Plan(seconds=7, torn=False), folder, lies=True)
    assert verdict == "SAFETY", text


if __name__ == "__main__":
    run_tests([
        one_member_loses_power, members_are_killed_and_stopped, members_are_cut_off, disks_fail,
        five_members_have_everything, writes_that_were_acknowledged_and_lost_are_found
    ])
