"""A release of etcd as a program, built from its Go modules. usage: etcd_release.py MINOR

Prints where the program is. It is built once and kept under $XDG_CACHE_HOME/kvorum (or ~/.cache/kvorum); building
needs Go and its module proxy, and takes a minute or two.
"""

import fcntl
import os
import shutil
import subprocess
import sys

MODULE = "go.etcd.io/etcd/server/v3"
RELEASES = {"3.5": "v3.5.35", "3.6": "v3.6.16", "3.7": "v3.7.3"}
NEWEST = "3.7"


def go_program():
    return shutil.which("go") or shutil.which("/usr/local/go/bin/go")


def program(minor):
    """The program's path. Errors: RuntimeError where it can't be built."""
    release = RELEASES[minor]
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = os.path.join(cache, "kvorum", f"etcd-{release}")
    path = os.path.join(folder, "etcd")
    if os.path.exists(path):
        return path
    go = go_program()
    if not go:
        raise RuntimeError(f"etcd {release} is not there, nor Go to build it with")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(path):
            return path
        with open(os.path.join(folder, "go.mod"), "w", encoding="utf-8") as module:
            module.write("module kvorum.etcd\n")
        for command in (["get", f"{MODULE}@{release}"], ["build", "-buildvcs=false", "-o", path + ".part", MODULE]):
            done = subprocess.run([go, *command], cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"go {' '.join(command)}: {done.stderr.strip()[-2000:]}")
        os.rename(path + ".part", path)
    return path


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in RELEASES:
        sys.exit(f"usage: etcd_release.py {'|'.join(RELEASES)}")
    try:
        print(program(sys.argv[1]))
    except RuntimeError as error:
        sys.exit(f"etcd_release.py: {error}")
