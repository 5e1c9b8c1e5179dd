"""Discovery services, and members that are found by them."""

import urllib.error
import urllib.request

from cluster import *  # pylint: disable=wildcard-import,unused-wildcard-import
from v2 import v2

REGISTRY = "/_etcd/registry"


class Service(Cluster):
    """One member that is a discovery service; its own cluster is its business."""

    def __init__(self, kind="kvorum"):
        super().__init__([], ())
        v2_flags = [] if ETCD_RELEASE in ("3.6", "3.7") else ["--enable-v2"]  # which have no v2 API
        self.new_member(kind, "service", ["--serve-discovery"] if kind == "kvorum" else v2_flags)
        self.start()

    @property
    def member(self):
        return self.members[0]

    def ask(self, path, method="GET"):
        """Status and body."""
        request = urllib.request.Request(f"http://{self.member.endpoint}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def token(self, size):
        """The flags for a new token: made by the service, or in its key space."""
        if self.member.kind == "kvorum":
            status, url = self.ask(f"/new?size={size}")
            assert status == 200, url
            return ["--discovery", url]
        name = f"token{random.randrange(1 << 60)}"
        assert v2(self.member).put(f"{REGISTRY}/{name}/_config/size", str(size)).status == 201
        return ["--discovery", f"http://{self.member.endpoint}/v2/keys{REGISTRY}/{name}"]

    def v3_token(self, size):
        name = f"token{random.randrange(1 << 60)}"
        self.etcdctl("put", f"{REGISTRY}/{name}/_config/size", str(size))
        return ["--discovery-token", name, "--discovery-endpoints", f"http://{self.member.endpoint}"]


def is_one_cluster(cluster, members=None):
    """The members know each other, and share what is written."""
    members = members or cluster.members
    cluster.wait_ready(members)
    for member in members:
        member.client().put(f"from/{member.name}", member.name)
    for member in members:
        found = member.client().prefix("from/")
        assert found == {f"from/{m.name}": m.name for m in members}, found
        listed = {(m["name"], tuple(m["peerURLs"])) for m in member.client().members()}
        assert listed == {(m.name, (m.peer_url,)) for m in members}, listed
    assert len({member.status()["header"]["cluster_id"] for member in members}) == 1


def lines_of(member):
    """The log as dictionaries; other lines are left out."""
    found = []
    for line in member.log().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            pass
    return [line for line in found if isinstance(line, dict)]


def said(member, message, **fields):
    """Whether there is such a line."""
    return any(line.get("msg") == message and all(line.get(name) == value for name, value in fields.items())
               for line in lines_of(member))


def waits_for_others(member):
    return wait_until(lambda: "waiting for more" in member.log() or "waiting for peers" in member.log(),
                      f"{member.name} waits for the others")


def failed(member):
    """What the member says that it failed with: one line, status 1, nothing left behind."""
    status = member.wait()
    lines = lines_of(member)
    assert status == 1, f"{member.name} ended with {status}: {lines[-3:]}"
    errors = [line for line in lines if line["level"] in ("error", "fatal", "panic")]
    if not errors:  # what is found out before there is anything to start
        errors = [line for line in lines if line["msg"] == "failed to verify flags"]
    assert len(errors) == 1, errors
    assert not os.path.exists(member.directory), os.listdir(member.directory)
    line = errors[0]
    return line["error"] if line["msg"] in ("failed to start etcd", "failed to verify flags") else line["msg"]
