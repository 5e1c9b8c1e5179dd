"""Clusters of real processes whose connections are encrypted."""

import http.client
import ssl
import subprocess

from certificates import Authority
from cluster import PATIENCE, Client, Cluster, Member

LOCAL = "DNS:localhost,IP:127.0.0.1"


class SecureClient(Client):
    """Of a member with TLS for clients. `context`: whom it trusts and what it shows."""

    def __init__(self, port, context):
        super().__init__(port)
        self.context = context

    def connect(self, timeout):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=self.context)


class SecureMember(Member):
    """One process with TLS on both sides; `context` is set by its cluster."""

    client_scheme = "https"
    peer_scheme = "https"
    context = None

    def client(self):
        return SecureClient(self.client_port, self.context)


class SecureCluster(Cluster):
    """Members with certificates of one authority; clients and members must show one of it too.

    `client_tls`, `peer_tls`: the flags of the two sides, instead of these; "{folder}" in them is where `authority` has
    its files."""

    member_class = SecureMember
    CLIENT_TLS = ("--cert-file={folder}/server.pem", "--key-file={folder}/server.key", "--client-cert-auth",
                  "--trusted-ca-file={folder}/ca.pem")
    PEER_TLS = ("--peer-cert-file={folder}/peer.pem", "--peer-key-file={folder}/peer.key", "--peer-client-cert-auth",
                "--peer-trusted-ca-file={folder}/ca.pem")

    def __init__(self, kinds, client_tls=CLIENT_TLS, peer_tls=PEER_TLS, flags=()):
        super().__init__([])
        self.authority = Authority(self.folder)
        self.authority.make("server", LOCAL)
        self.authority.make("peer", LOCAL)
        self.authority.make("client")
        self.flags = [flag.format(folder=self.folder) for flag in (*client_tls, *peer_tls, *flags)]
        self.trust()
        for kind in kinds:
            self.new_member(kind)

    def path(self, name):
        return self.authority.path(name)

    def trust(self, certificate="client", anybody=False):
        """What the tests' own clients show, and whether they take any server's certificate."""
        self.context = self.context_of(certificate, anybody)
        self.etcdctl_flags = self.ctl_flags(certificate, anybody)
        for member in self.members:
            member.context = self.context

    def context_of(self, certificate="client", anybody=False):
        context = ssl.create_default_context(cafile=self.authority.file)
        if anybody:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(self.path(certificate + ".pem"), self.path(certificate + ".key"))
        return context

    def ctl_flags(self, certificate="client", anybody=False):
        flags = ["--insecure-transport=false", "--insecure-skip-tls-verify"] if anybody else [f"--cacert={self.authority.file}"]
        if certificate:
            flags += [f"--cert={self.path(certificate + '.pem')}", f"--key={self.path(certificate + '.key')}"]
        return flags

    def new_member(self, kind, name=None, flags=()):
        member = super().new_member(kind, name, flags)
        member.context = self.context
        return member

    def endpoints(self, members=None):
        return ",".join(f"{m.client_scheme}://{m.endpoint}" for m in members or self.members if m.alive())

    def curl(self, url, *arguments, certificate="client"):
        """What curl prints, and how it ended."""
        shown = ["--cert", self.path(certificate + ".pem"), "--key", self.path(certificate + ".key")] \
            if certificate else []
        result = subprocess.run(["curl", "-sS", "--max-time", "20", "--cacert", self.authority.file, *shown, *arguments,
                                 url], capture_output=True, text=True, timeout=PATIENCE, check=False)
        return result.stdout if result.returncode == 0 else f"failed: {result.stderr}"
