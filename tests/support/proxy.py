"""Proxies of clusters of real processes: Kvorum's proxy mode, and etcd 3.4's."""

import os
import re
import shutil
import subprocess
import tempfile

from cluster import ETCD, KVORUM, PATIENCE, free_port, wait_until
from running import Running
from v2 import LOST, V2Client


class Proxy(Running):
    """One process in proxy mode, in a folder of its own. Looks like a member to clients."""

    def __init__(self, kind, cluster, flags=(), mode="on", found_by=None):
        """`found_by`: flags that say who the members are, instead of their list."""
        self.kind = kind
        self.name = "proxy"
        self.folder = tempfile.mkdtemp(prefix="kvorum-proxy-")
        self.directory = os.path.join(self.folder, "data")
        self.log_path = os.path.join(self.folder, "log")
        self.client_port = free_port()
        self.mode = mode
        self.flags = list(flags)
        self.members = cluster.initial_cluster()
        self.found_by = found_by
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, error, trace):
        if error is not None:
            print(f"---- {self.kind} as a proxy\n{self.log()[-4000:]}")
        self.close()

    def close(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.client_port}"

    def command(self):
        command = [KVORUM if self.kind == "kvorum" else ETCD, "--data-dir", self.directory, "--listen-client-urls",
                   f"http://{self.endpoint}", "--proxy", self.mode]
        command += ["--initial-cluster", self.members] if self.found_by is None else self.found_by
        return command + (["--logger=zap"] if self.kind == "etcd" else []) + self.flags

    def start(self):
        if not self.alive():
            self.launch()
        wait_until(self.endpoints, "the proxy knows the members")
        return self

    def launch(self):
        """As start, but does not wait."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def endpoints(self):
        """The members' client URLs that it would use."""
        assert self.alive(), f"the proxy ended:\n{self.log()}"
        client = V2Client(self.client_port)
        try:
            return client.call("GET", "/v2/config/local/proxy").body.get("endpoints")
        except LOST:
            return None
        finally:
            client.close()

    def metric(self, name):
        """The sum over the labels of a metric."""
        client = V2Client(self.client_port)
        try:
            text = client.call("GET", "/metrics").text
        finally:
            client.close()
        return sum(float(line.split()[-1]) for line in text.splitlines() if re.match(name + r"[{ ]", line))
