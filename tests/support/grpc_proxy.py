"""The gRPC proxies of clusters of real processes: Kvorum's, and etcd 3.4's."""

import http.client
import os
import re
import shutil
import ssl
import subprocess
import tempfile

from cluster import ETCD, KVORUM, LOST, PATIENCE, free_port, wait_until
from running import Running


class GrpcProxy(Running):
    """One process, in a folder of its own. Looks like a member to clients of the v3 API."""

    def __init__(self, kind, endpoints, flags=(), tls=False):
        self.kind = kind
        self.folder = tempfile.mkdtemp(prefix="kvorum-grpc-proxy-")
        self.log_path = os.path.join(self.folder, "log")
        self.client_port = free_port()
        self.endpoints = endpoints
        self.flags = list(flags)
        self.tls = tls
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, error, trace):
        self.kill()
        if error is not None:
            print(f"---- {self.kind} as a gRPC proxy\n{self.log()[-4000:]}")
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.client_port}"

    def command(self):
        return [KVORUM if self.kind == "kvorum" else ETCD, "grpc-proxy", "start", "--endpoints", self.endpoints,
                "--listen-addr", self.endpoint, "--advertise-client-url", self.endpoint,
                "--data-dir", os.path.join(self.folder, "data"), *self.flags]

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self.healthy, "the proxy reaches the cluster")
        return self

    def page(self, path):
        """Status and text."""
        if self.tls:
            connection = http.client.HTTPSConnection("127.0.0.1", self.client_port, timeout=10,
                                                     context=ssl._create_unverified_context())
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.client_port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def healthy(self):
        assert self.alive(), f"the proxy ended:\n{self.log()}"
        try:
            return self.page("/health")[0] == 200
        except LOST:
            return False

    def metric(self, name):
        text = self.page("/proxy/metrics")[1]
        return sum(float(line.split()[-1]) for line in text.splitlines() if re.match(name + r"[{ ]", line))

    def etcdctl(self, *arguments, check=True):
        """Standard output of Debian's etcdctl, API version 3."""
        result = subprocess.run(["etcdctl", "--endpoints", self.endpoint, *arguments],
                                env=dict(os.environ, ETCDCTL_API="3"), capture_output=True, text=True,
                                timeout=PATIENCE, check=False)
        if check and result.returncode != 0:
            raise AssertionError(f"etcdctl {' '.join(arguments)}: {result.stdout}{result.stderr}")
        return result.stdout if check else result
