"""A DNS server for tests: Debian's dnsmasq on a loopback address of its own, with authority over "test"."""

import os
import random
import shutil
import socket
import subprocess
import tempfile
import time

PROGRAM = "/usr/sbin/dnsmasq"


class Dns:
    """Runs until it is closed. `records`: options of dnsmasq, as of `srv` and `host`."""

    def __init__(self, records=(), port=None):
        assert os.path.exists(PROGRAM), f"no {PROGRAM}: install dnsmasq-base"
        # One of 16 million addresses: what runs beside it has another.
        self.host = ".".join(["127"] + [str(random.SystemRandom().randrange(1, 251)) for _ in range(3)])
        self.port = port or random.SystemRandom().randrange(20000, 32000)
        self.address = f"{self.host}:{self.port}"
        self.folder = tempfile.mkdtemp(prefix="kvorum-dns-")
        self.process = None
        self.set(records)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()

    def set(self, records):
        """Serves these records instead; returns once it does."""
        self.stop()
        options = ["no-resolv", "no-hosts", "keep-in-foreground", "bind-interfaces", "local=/test/", "local-ttl=0",
                   "pid-file", "log-facility=/dev/null", f"port={self.port}", f"listen-address={self.host}"]
        if os.geteuid() == 0:
            options.append("user=root")
        path = os.path.join(self.folder, "dnsmasq.conf")
        with open(path, "w") as file:
            file.write("\n".join([*options, *records]) + "\n")
        self.process = subprocess.Popen([PROGRAM, f"--conf-file={path}"], stdin=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection((self.host, self.port)).close()
                return
            except OSError:
                assert time.monotonic() < end and self.process.poll() is None, "dnsmasq does not start"
                time.sleep(0.01)

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def close(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def srv(service, domain, host, port, priority=0, weight=0):
    return f"srv-host=_{service}._tcp.{domain},{host},{port},{priority},{weight}"


def host(name, address="127.0.0.1"):
    return f"host-record={name},{address}"
