"""What fault_shim.so and power.py make of a process's disk."""

import os
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
# pylint: disable=wrong-import-position
import power
from cluster import KVORUM, run_tests
from faults import ALWAYS, LOG, Faults

CHILD = """
import errno, os, signal, sys
def put(path, data, flags=0):
    fd = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600)
    os.write(fd, data)
    return fd
def sync_names(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)
os.chdir(sys.argv[1])
here = sys.argv[1]
"""


class Member:
    """What Faults takes for one."""

    def __init__(self, folder):
        self.directory = os.path.join(folder, "data")


class Disk:
    """A data directory under the shim, in a folder that goes away with it."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="kvorum-power-")
        self.data = os.path.join(self.folder.name, "data")
        os.mkdir(self.data)
        self.faults = Faults(Member(self.folder.name))

    def run(self, script):
        """Lines of Python, in absolute paths below `here`; killed at their end. Their output."""
        script = CHILD + script + "\nsys.stdout.flush(); os.kill(os.getpid(), signal.SIGKILL)"
        environment = dict(os.environ, **self.faults.environment(os.path.dirname(KVORUM)))
        result = subprocess.run([sys.executable, "-c", script, self.data], env=environment, capture_output=True,
                                text=True, check=False)
        assert result.returncode == -9, result.stderr
        return result.stdout

    def cut(self, torn=False, seed=1):
        power.cut(self.faults.directory, random.Random(seed), torn)
        return self.content()

    def content(self):
        found = {}
        for folder, _, names in os.walk(self.data):
            for name in names:
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, self.data)] = file.read()
        return found


def bytes_that_were_not_synced_are_lost():
    d = Disk()
    d.run("f = put(here + '/a', b'one'); os.fsync(f); sync_names(here); os.write(f, b'two'); os.pwrite(f, b'O', 0)")
    assert d.content() == {"a": b"Onetwo"}
    assert d.cut() == {"a": b"one"}
    # What is there after a cut is synced.
    assert d.cut() == {"a": b"one"}


def a_kill_alone_loses_nothing_and_a_later_cut_all():
    d = Disk()
    d.run("f = put(here + '/a', b'one'); os.fsync(f); sync_names(here); os.write(f, b'two')")
    d.run("f = os.open(here + '/a', os.O_WRONLY | os.O_APPEND); os.write(f, b'three')")
    assert d.content() == {"a": b"onetwothree"}
    assert d.cut() == {"a": b"one"}


def what_is_cut_off_comes_back():
    d = Disk()
    d.run("f = put(here + '/a', b'123456'); os.fsync(f); sync_names(here); os.ftruncate(f, 2); os.write(f, b'x');"
          "put(here + '/a', b'', os.O_TRUNC)")
    assert d.content() == {"a": b""}
    assert d.cut() == {"a": b"123456"}


def names_need_a_sync_of_their_directory():
    d = Disk()
    d.run("os.fsync(put(here + '/a', b'a')); sync_names(here); os.fsync(put(here + '/b', b'b'));"
          "os.mkdir(here + '/c'); os.fsync(put(here + '/c/d', b'd')); sync_names(here + '/c')")
    assert sorted(d.content()) == ["a", "b", "c/d"]
    assert d.cut() == {"a": b"a"}


def what_was_renamed_or_removed_comes_back():
    d = Disk()
    d.run("for n in 'abc': os.fsync(put(here + '/' + n, n.encode()))\n"
          "sync_names(here); os.rename(here + '/a', here + '/b'); os.unlink(here + '/c')")
    assert d.content() == {"b": b"a"}
    assert d.cut() == {"a": b"a", "b": b"b", "c": b"c"}


def a_directory_may_be_renamed_over_names_that_are_not_synced():
    d = Disk()
    d.run("os.mkdir(here + '/t'); sync_names(here); os.fsync(put(here + '/t/a', b'a')); sync_names(here + '/t');"
          "os.fsync(put(here + '/t/b', b'b')); os.rename(here + '/t', here + '/u'); sync_names(here)")
    assert d.cut() == {"u/a": b"a"}


def writes_that_wait_for_the_disk_stay():
    d = Disk()
    d.run("put(here + '/a', b'1' * 8); os.fsync(put(here + '/a', b'1' * 8)); sync_names(here);"
          "put(here + '/a', b'22'); os.pwrite(os.open(here + '/a', os.O_WRONLY | os.O_DSYNC), b'3', 5)")
    assert d.content() == {"a": b"22111311"}
    assert d.cut() == {"a": b"11111311"}


def sectors_are_old_or_new():
    seen = set()
    for seed in range(8):
        d = Disk()
        d.run("f = put(here + '/a', b'0' * 2048); os.fsync(f); sync_names(here); os.pwrite(f, b'1' * 1024, 512)")
        found = d.cut(torn=True, seed=seed)["a"]
        assert found[:512] == b"0" * 512 and found[1536:] == b"0" * 512
        assert found[512:1024] in (b"0" * 512, b"1" * 512) and found[1024:1536] in (b"0" * 512, b"1" * 512)
        seen.add(found)
    assert len(seen) > 2


def lies_lose_what_was_synced():
    d = Disk()
    d.run("os.fsync(put(here + '/a', b'one')); sync_names(here)")
    d.faults["lie"] = 1
    d.run("f = os.open(here + '/a', os.O_WRONLY | os.O_APPEND); os.write(f, b'two'); os.fsync(f)")
    assert d.cut() == {"a": b"one"}


def syncs_and_writes_fail_where_they_shall():
    d = Disk()
    d.faults["scope"] = LOG
    d.faults["fail_syncs"] = 1
    attempt = """
def attempt(path):
    f = os.open(path, os.O_WRONLY | os.O_CREAT)
    for act in (lambda: os.write(f, b"x"), lambda: os.fsync(f)):
        try:
            act()
            print("ok", end=" ")
        except OSError as error:
            print(errno.errorcode[error.errno], end=" ")
"""
    both = attempt + "os.makedirs(here + '/wal', exist_ok=True); attempt(here + '/other'); attempt(here + '/wal/0')"
    assert d.run(both).split() == ["ok", "ok", "ok", "EIO"]
    d.faults["fail_writes"] = ALWAYS
    assert d.run(both).split() == ["ok", "ok", "ENOSPC", "ok"]
    assert d.faults["faults"] == 2


if __name__ == "__main__":
    run_tests([
        bytes_that_were_not_synced_are_lost, a_kill_alone_loses_nothing_and_a_later_cut_all, what_is_cut_off_comes_back,
        names_need_a_sync_of_their_directory, what_was_renamed_or_removed_comes_back,
        a_directory_may_be_renamed_over_names_that_are_not_synced, writes_that_wait_for_the_disk_stay,
        sectors_are_old_or_new, lies_lose_what_was_synced, syncs_and_writes_fail_where_they_shall
    ])
