"""Client libraries of the v2 API, unmodified, against Kvorum and against etcd. usage: v2_clients_test.py TEST"""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from cluster import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clients")
NODE_PACKAGE = "node-etcd@7.0.0"
NODE_FOLDER = os.path.join(os.path.dirname(KVORUM), "..", "node")
NOT_RUN = 77  # what ctest shows as skipped


def run(kind, command):
    """The command with the address of a fresh server at its end says ok."""
    with Cluster([kind], ["--enable-v2"]) as cluster:
        cluster.start()
        result = subprocess.run(command(cluster.members[0]), capture_output=True, text=True, timeout=PATIENCE,
                                check=False)
        assert result.returncode == 0 and result.stdout.endswith("ok\n"), result.stdout + result.stderr


def python_command(member):
    return ["/usr/bin/python3", "-B", os.path.join(FOLDER, "python_etcd.py"), "127.0.0.1", str(member.client_port)]


def node_command(member):
    package = os.path.join(NODE_FOLDER, "node_modules", "node-etcd")
    return ["node", os.path.join(FOLDER, "node_etcd.js"), package, member.endpoint]


def node_packages(folder=NODE_FOLDER):
    """Installs the package once for all tests; says why where that cannot be."""
    for program in ("node", "npm"):
        if not shutil.which(program):
            print(f"NOT RUN: there is no {program}; node-etcd needs Node.js and npm")
            sys.exit(NOT_RUN)
    if os.path.exists(os.path.join(folder, "node_modules", "node-etcd", "package.json")):
        return
    os.makedirs(folder, exist_ok=True)
    result = subprocess.run(["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--no-save",
                             NODE_PACKAGE], capture_output=True, text=True, timeout=150, check=False)
    if result.returncode != 0:
        print(f"NOT RUN: npm cannot install {NODE_PACKAGE}:\n{result.stdout}{result.stderr}")
        sys.exit(NOT_RUN)


def python_etcd_against_etcd():
    run("etcd", python_command)


def python_etcd():
    run("kvorum", python_command)


def node_etcd_against_etcd():
    node_packages()
    run("etcd", node_command)


def node_etcd():
    node_packages()
    run("kvorum", node_command)


TESTS = [python_etcd_against_etcd, python_etcd, node_etcd_against_etcd, node_etcd]

if __name__ == "__main__":
    run_tests(TESTS)
