"""Auth, members, machines and statistics of the v2 API, side by side with etcd 3.4: the same requests to both, the
same answers from both.

usage: v2_access_test.py [TEST…]
"""

import base64
import http.client
import json
import os
import random
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from cluster import Cluster, run_tests, wait_until  # noqa: E402  pylint: disable=wrong-import-position

FLAGS = ["--enable-v2=true"]
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
COMPARED = ["content-type", "allow", "www-authenticate", "x-content-type-options"]


class Answer:
    """A response, in a form in which those of two clusters can be compared."""

    def __init__(self, cluster, response):
        self.status = response.status
        self.text = response.read().decode()
        self.index = response.getheader("x-etcd-index")
        self.headers = {name: response.getheader(name) for name in COMPARED}
        identity = response.getheader("x-etcd-cluster-id")
        assert identity is None or re.fullmatch("[0-9a-f]{1,16}", identity), identity
        self.headers["x-etcd-cluster-id"] = identity is not None
        self.body = cluster_free(cluster, self.text)

    def same_as(self, other):
        return (self.status, self.body, self.headers) == (other.status, other.body, other.headers)

    def __repr__(self):
        return f"{self.status} {self.text!r} {self.headers}"


def cluster_free(cluster, text):
    """The text without what differs from cluster to cluster: addresses, ids, and in them the order."""
    for member in cluster.members:
        text = text.replace(member.peer_url, f"http://{member.name}.peer").replace(member.endpoint,
                                                                                   f"{member.name}.client")
    text = re.sub(r'"(id|leader)":"[0-9a-f]{1,16}"', r'"\1":"ID"', text)
    text = re.sub(r'(No such member|removed): [0-9a-f]{9,16}"', r'\1: ID"', text)
    if text.startswith("http://"):  # machines
        text = ", ".join(sorted(text.split(", ")))
    if text.startswith('{"id":'):  # the leader, whichever it is
        text = re.sub(r"\bm[0-9]\b", "mN", text)
    if text.startswith('{"members":['):
        members = json.loads(text)["members"]
        text = json.dumps(sorted(members, key=lambda member: json.dumps(member["peerURLs"])))
    if '"nodes":[' in text:
        text = json.dumps(json.loads(text, object_hook=ordered))
    # Indexes are compared as such, by those who know where they began.
    return re.sub(r'"(index|modifiedIndex|createdIndex)": ?[1-9][0-9]*', r'"\1":N', text)


def ordered(value):
    """etcd lists a directory in no order."""
    if "nodes" in value:
        value["nodes"].sort(key=lambda node: node["key"])
    return value


def ask(cluster, method, path, body=None, headers=None, credentials=None, member=0):
    connection = http.client.HTTPConnection("127.0.0.1", cluster.members[member].client_port, timeout=20)
    headers = dict(headers or {})
    if credentials is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(credentials.encode()).decode()
    if not isinstance(body, (str, type(None))):
        body = json.dumps(body)
    try:
        connection.request(method, path, body, headers)
        return Answer(cluster, connection.getresponse())
    except (OSError, http.client.HTTPException) as error:
        kind = cluster.members[member].kind
        raise AssertionError(f"{kind} answers nothing to {method} {path} {body} {headers}") from error
    finally:
        connection.close()


class Pair:
    """A cluster of Kvorum's members and one of etcd's, alike."""

    def __init__(self, size=1):
        self.size = size

    def __enter__(self):
        self.clusters = [Cluster([kind] * self.size, FLAGS) for kind in ("kvorum", "etcd")]
        for cluster in self.clusters:
            cluster.__enter__()
            cluster.start()
            wait_until(lambda c=cluster: "not_decided" not in ask(c, "GET", "/version").text, "there is a version")
        return self

    def __exit__(self, *error):
        for cluster in self.clusters:
            cluster.__exit__(*error)

    def ask(self, method, path, body=None, headers=None, credentials=None):
        """The answer that both give; paths and bodies may be made for each cluster."""
        answers = []
        for cluster in self.clusters:
            answers.append(
                ask(cluster, method, path(cluster) if callable(path) else path,
                    body(cluster) if callable(body) else body, headers, credentials))
        kvorum, etcd = answers
        assert kvorum.same_as(etcd), f"{method} {path} {body} {headers} {credentials}\nKvorum: {kvorum}\netcd:   {etcd}"
        return etcd

    def index(self):
        """The stores' indexes, Kvorum's and etcd's."""
        return [int(ask(cluster, "GET", "/v2/keys/", credentials="root:rootpw").index) for cluster in self.clusters]


def user(name, **fields):
    return dict(user=name, **fields)


def role(name, **fields):
    return dict(role=name, **fields)


def rights(read=None, write=None):
    return {"kv": {key: value for key, value in (("read", read), ("write", write)) if value is not None}}


def users_and_roles_are_etcds():
    with Pair() as pair:
        begin = pair.index()
        for path in ("enable", "users", "users/", "users/u", "users/u/", "users/a/b", "roles", "roles/root", "roles/r",
                     "", "enable/", "none"):
            for method in ("GET", "POST", "HEAD", "PUT", "DELETE"):
                pair.ask(method, "/v2/auth/" + path)
        for body in (user("u"), user("u", password=""), user("v", password="p"), "x", "", "[]", "null", "{}",
                     user("u", password=7), user("u", roles="r"), user("u", roles=["r"], grant=["s"]),
                     user("u", grant=["r"]), user("u", password="p"), user("u"), user("u", grant=["r", "s", "a<b"]),
                     user("u", grant=["r"]), user("u", revoke=["t"]), user("u", revoke=["s"], grant=["t"]),
                     user("u", revoke=["t", "t"]), user("u", grant=["t"], password="q"), user("u", password="q"),
                     user("u", roles=["r"], password="p"), '{"USER":"u","Grant":["upper"]} trailing'):
            pair.ask("PUT", "/v2/auth/users/u", body)
            pair.ask("GET", "/v2/auth/users/u")
            pair.ask("GET", "/v2/auth/users")
        pair.ask("PUT", "/v2/auth/users/w", user("w", password="p", roles=["z", "a", "a"]))
        pair.ask("PUT", "/v2/auth/users/%C3%A4%20b", user("ä b", password="päß"))
        pair.ask("PUT", "/v2/auth/users/_hidden", user("_hidden", password="p"))
        pair.ask("GET", "/v2/auth/users")
        both = rights(["/a", "/b*"], ["/c"])
        for body in (role("r"), role("s"), "[1]", role("r", permissions=7), role("r"),
                     role("r", grant=both, permissions=both), role("r", grant=both), role("r", grant=rights(["/b*"])),
                     role("r", grant=rights(None, ["/c"])), role("r", revoke=rights(["/none"])),
                     role("r", revoke=both, grant=rights(["/z"], ["/y", "/x"])), role("r", grant={}),
                     role("r", grant=None)):
            pair.ask("PUT", "/v2/auth/roles/r", body)
            pair.ask("GET", "/v2/auth/roles/r")
        pair.ask("PUT", "/v2/auth/roles/e", role("e", grant={"kv": {}}, revoke={}))
        pair.ask("PUT", "/v2/auth/roles/t", role("t", permissions=both))
        for name in ("t", "root"):
            pair.ask("PUT", "/v2/auth/roles/" + name, role(name, grant=rights(["/q"])))
        for name in ("t", "t", "root", "none"):
            pair.ask("DELETE", "/v2/auth/roles/" + name)
        for name in ("w", "w", "none"):
            pair.ask("DELETE", "/v2/auth/users/" + name)
        pair.ask("GET", "/v2/auth/roles")
        pair.ask("GET", "/v2/auth/users")
        end = pair.index()
        assert end[0] - begin[0] == end[1] - begin[1], (begin, end)


def enabled_auth_lets_the_same_pass():
    with Pair() as pair:
        pair.ask("PUT", "/v2/auth/enable")
        pair.ask("PUT", "/v2/auth/users/root", user("root", password="rootpw"))
        pair.ask("PUT", "/v2/auth/roles/dir", role("dir", permissions=rights(["/d/*", "/one"], ["/d/*"])))
        pair.ask("PUT", "/v2/auth/users/u", user("u", password="pw", roles=["gone", "dir"]))
        pair.ask("PUT", "/v2/auth/users/plain", user("plain", password="pw"))
        for enabled in (False, True):
            if enabled:
                pair.ask("PUT", "/v2/auth/enable")
            for credentials in (None, "root:rootpw", "root:wrong", "u:pw", "u:", "plain:pw", "nobody:pw", "u"):
                pair.ask("GET", "/v2/auth/enable", credentials=credentials)
                for line in ("GET auth/users", "GET auth/roles/dir", "PUT auth/users/u", "DELETE auth/users/none",
                             "GET members", "GET machines", "DELETE members/1", "GET members/leader", "GET members/x"):
                    method, path = line.split()
                    pair.ask(method, "/v2/" + path, credentials=credentials)
                for method in ("PUT", "GET", "DELETE"):
                    for key in ("/d/k", "/d?recursive=true", "/d/?recursive=true&dir=true", "/one",
                                "/one?recursive=true", "/other", "", "/"):
                        pair.ask(method, "/v2/keys" + key, credentials=credentials)
        for value in ("Basic", "Basic x", "Bearer abc", "basic cm9vdDpyb290cHc=", "Basic cm9vdDpyb290cHc", ""):
            pair.ask("GET", "/v2/auth/users", headers={"Authorization": value})
            pair.ask("GET", "/v2/keys/d/k", headers={"Authorization": value})
        pair.ask("DELETE", "/v2/auth/users/root", credentials="root:rootpw")
        pair.ask("PUT", "/v2/auth/roles/guest", role("guest", revoke=rights(None, ["/*"])), credentials="root:rootpw")
        pair.ask("PUT", "/v2/keys/other", "value=1", FORM)
        pair.ask("GET", "/v2/keys/other")
        pair.ask("DELETE", "/v2/auth/roles/guest", credentials="root:rootpw")
        pair.ask("GET", "/v2/keys/other")
        pair.ask("PUT", "/v2/auth/users/root", user("root", password="new"), credentials="root:rootpw")
        pair.ask("GET", "/v2/auth/users", credentials="root:rootpw")
        pair.ask("DELETE", "/v2/auth/enable", credentials="root:new")
        pair.ask("DELETE", "/v2/auth/users/root")
        pair.ask("PUT", "/v2/auth/enable")


def any_sequence_has_the_same_answers():
    seed = int(os.environ.get("KVORUM_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"seed {seed}")
    chosen = random.Random(seed)
    names = ["root", "u", "v"]
    roles = ["root", "guest", "r", "s"]
    patterns = ["/*", "/a", "/a/*", "*", "/a*"]

    def some(choices):
        return chosen.sample(choices, chosen.randrange(len(choices) + 1))

    def permissions():
        return rights(*(some(patterns) if chosen.random() < 0.7 else None for _ in range(2)))

    def body_for_user(name):
        body = user(name if chosen.random() < 0.95 else "other")
        for field, make in (("password", lambda: chosen.choice(["", "p", "q"])), ("roles", lambda: some(roles)),
                            ("grant", lambda: some(roles)), ("revoke", lambda: some(roles))):
            if chosen.random() < 0.35:
                body[field] = make()
        return body

    def body_for_role(name):
        body = role(name if chosen.random() < 0.95 else "other")
        for field in ("permissions", "grant", "revoke"):
            if chosen.random() < 0.4:
                body[field] = permissions()
        return body

    statuses = {}
    with Pair() as pair:
        root_password = "none"
        for _ in range(300):
            credentials = chosen.choice([None] + [f"{name}:{password}" for name in names for password in ("p", "q")])
            if chosen.random() < 0.5:
                credentials = "root:" + root_password
            family = chosen.choice(["users", "users", "roles", "roles", "keys", "enable"])
            if family == "keys":
                key = chosen.choice(["", "/", "/a", "/a/b", "/a/", "/b"]) + chosen.choice(["", "?recursive=true"])
                method = chosen.choice(["GET", "PUT", "DELETE", "POST"])
                answer = pair.ask(method, "/v2/keys" + key, credentials=credentials)
            elif family == "enable":
                answer = pair.ask(chosen.choice(["GET", "PUT", "DELETE"]), "/v2/auth/enable", credentials=credentials)
            else:
                name = chosen.choice(names if family == "users" else roles)
                method = chosen.choice(["GET", "PUT", "PUT", "PUT", "DELETE"])
                body = (body_for_user if family == "users" else body_for_role)(name) if method == "PUT" else None
                path = f"/v2/auth/{family}/{name if chosen.random() < 0.9 else ''}"
                answer = pair.ask(method, path, body, credentials=credentials)
                if path.endswith("users/root") and answer.status in (200, 201):
                    root_password = (body or {}).get("password") or root_password
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
    print(f"answers by status: {dict(sorted(statuses.items()))}")


def members_are_etcds():
    with Pair(3) as pair:
        for method in ("GET", "HEAD", "PATCH", "PUT", "DELETE"):
            for path in ("", "/", "/leader", "/x", "/1", "/0", "/zz", "/1/2"):
                pair.ask(method, "/v2/members" + path, headers=JSON)
        pair.ask("GET", "/v2/machines")
        pair.ask("HEAD", "/v2/machines")
        pair.ask("POST", "/v2/machines")
        for kind in (None, "text/plain", "application/json; charset=utf-8", "application/json ", "Application/JSON"):
            pair.ask("POST", "/v2/members", "{", {"Content-Type": kind} if kind else None)
        for body in ("", "{}", "null", "[]", "7", '{"peerURLs":7}', '{"peerURLs":[7]}', '{"peerURLs":[{}]}',
                     '{"peerURLs":["x"]}', '{"peerURLs":["http://a:1/p"]}', '{"peerURLs":["ftp://a:1"]}',
                     '{"peerURLs":["http://a"]}', '{"peerURLs":[]}', '{"peerURLs":["http://a:1"]', "{'peerURLs':1}",
                     '{"peerURLs":["http://a:1"]} x', '{"peerURLs" ["http://a:1"]}', '{"peerURLs":["\\x"]}',
                     '{"peerURLs":["http://a:1",]}', '{"peerURLs":tru}', '{"peerURLs":-}', '{"a":1.}'):
            pair.ask("POST", "/v2/members", body, JSON)

        def body_of(*urls):
            return json.dumps({"peerURLs": urls, "name": "ignored"})

        def settled(cluster, *urls):
            """Members that have not been connected for some seconds refuse to change who belongs to them."""
            answer = ask(cluster, "POST", "/v2/members", body_of(*urls), JSON)
            return answer if answer.status != 500 else None

        for cluster in pair.clusters:
            taken = wait_until(lambda c=cluster: settled(c, c.members[1].peer_url), "an URL is refused")
            assert (taken.status, taken.text) == (409, '{"message":"membership: peerURL exists"}'), taken
        new = ("http://127.0.0.1:9", " http://127.0.0.1:8 ")
        answers = [wait_until(lambda c=cluster: settled(c, *new), "a member is added") for cluster in pair.clusters]
        assert answers[0].same_as(answers[1]), answers
        assert answers[0].status == 201, answers
        ids = {cluster: json.loads(answer.text)["id"] for cluster, answer in zip(pair.clusters, answers)}

        def path(cluster):
            return "/v2/members/" + ids[cluster]

        pair.ask("GET", "/v2/members")
        pair.ask("PUT", path, body_of("http://127.0.0.1:7"), JSON)
        pair.ask("GET", "/v2/members")
        pair.ask("PUT", path, lambda cluster: body_of(cluster.members[1].peer_url), JSON)
        pair.ask("PUT", "/v2/members/123456789", body_of("http://127.0.0.1:6"), JSON)
        pair.ask("PUT", path, "{}", JSON)
        pair.ask("DELETE", path)
        pair.ask("DELETE", path)
        pair.ask("PUT", path, body_of("http://127.0.0.1:5"), JSON)
        pair.ask("GET", "/v2/members")


def statistics_have_etcds_form():
    optional = ("PkgRate", "BandwidthRate")

    def form(value):
        """The shape of a JSON value: names in order, and kinds of values."""
        if isinstance(value, dict):
            return [(re.sub("^[0-9a-f]{9,16}$", "ID", name), form(inner)) for name, inner in value.items()
                    if not name.endswith(optional)]
        return "number" if isinstance(value, (int, float)) else type(value).__name__

    with Pair(3) as pair:
        for method in ("HEAD", "POST"):
            for path in ("self", "leader", "store", "", "none", "self/"):
                pair.ask(method, "/v2/stats/" + path)
        shapes = []
        for cluster in pair.clusters:
            leader = cluster.members.index(cluster.leader())
            for i in range(20):
                assert ask(cluster, "PUT", "/v2/keys/k", f"value={i}", FORM, member=leader).status in (200, 201)
            own = []
            for member in (leader, (leader + 1) % 3):
                mine = json.loads(ask(cluster, "GET", "/v2/stats/self", member=member).text)
                assert mine["state"] == ("StateLeader" if member == leader else "StateFollower"), mine
                assert re.fullmatch(r"([0-9]+m)?[0-9.]+(m|µ)?s", mine["leaderInfo"]["uptime"]), mine
                assert mine["leaderInfo"]["startTime"] > "2020" < mine["startTime"], mine
                assert mine["sendAppendRequestCnt" if member == leader else "recvAppendRequestCnt"] >= 20, mine
                answer = ask(cluster, "GET", "/v2/stats/leader", member=member)
                assert answer.status == (200 if member == leader else 403), answer
                own += [form(mine), form(json.loads(answer.text)), answer.headers]
                if member == leader:
                    followers = json.loads(answer.text)["followers"]
                    assert len(followers) == 2, followers
                    for follower in followers.values():
                        assert follower["counts"]["success"] >= 20, followers
                        latency = follower["latency"]
                        assert 0 < latency["minimum"] <= latency["average"] <= latency["maximum"], followers
            store = ask(cluster, "GET", "/v2/stats/store", member=leader)
            assert json.loads(store.text)["setsSuccess"] >= 20, store
            shapes.append(own + [form(json.loads(store.text)), store.headers])
        assert shapes[0] == shapes[1], shapes


def auth_is_one_in_a_cluster_with_etcd():
    with Cluster([]) as cluster:
        cluster.new_member("kvorum", flags=FLAGS + ["--cluster-version-limit=3.4", "--snapshot-count=20"])
        for _ in range(2):
            cluster.new_member("etcd", flags=FLAGS + ["--snapshot-count=20"])
        cluster.start()
        everybody = range(3)

        def knows_the_version(member):
            return "not_decided" not in ask(cluster, "GET", "/version", member=member).text

        for member in everybody:
            wait_until(lambda m=member: knows_the_version(m), "there is a version")

        def change(member, method, path, body=None, credentials=None):
            answer = ask(cluster, method, "/v2/auth/" + path, body, credentials=credentials, member=member)
            assert answer.status in (200, 201), answer

        def everywhere(status, method, path, credentials=None):
            """Sooner or later: checks are made by what each member knows."""

            def says_so(member):
                return ask(cluster, method, path, "value=1", FORM, credentials, member).status == status

            for member in everybody:
                wait_until(lambda m=member: says_so(m),
                           f"{cluster.members[member].kind} says {status} to {method} {path} of {credentials}")

        change(1, "PUT", "users/root", user("root", password="rootpw"))
        change(0, "PUT", "roles/r", role("r", permissions=rights(["/a/*"], ["/a/*"])))
        change(1, "PUT", "users/theirs", user("theirs", password="pässwörd", roles=["r"]))
        change(0, "PUT", "users/ours", user("ours", password="geheimniß", roles=["r"]))
        change(0, "PUT", "enable")
        everywhere(200, "GET", "/v2/auth/users", "root:rootpw")
        everywhere(401, "GET", "/v2/auth/users")
        change(2, "PUT", "roles/guest", role("guest", revoke=rights(["/*"], ["/*"])), "root:rootpw")
        for restarted in (False, True):
            everywhere(401, "GET", "/v2/keys/a/x")
            for name, password in (("theirs", "pässwörd"), ("ours", "geheimniß")):
                ask(cluster, "PUT", "/v2/keys/a/x", "value=1", FORM, f"{name}:{password}")
                everywhere(200, "GET", "/v2/keys/a/x", f"{name}:{password}")
                everywhere(401, "GET", "/v2/keys/b", f"{name}:{password}")
                everywhere(401, "PUT", "/v2/keys/a/x", f"{name}:wrong")
            if restarted:
                continue
            for i in range(60):  # past some snapshots
                assert ask(cluster, "PUT", f"/v2/keys/a/{i}", "value=1", FORM, "ours:geheimniß", i % 3).status == 201
            for member in cluster.members:
                member.kill()
            for member in cluster.members:
                member.start(cluster.initial_cluster())
            cluster.wait_ready()
        change(0, "PUT", "users/theirs", user("theirs", password="new"), "root:rootpw")
        everywhere(401, "GET", "/v2/keys/a/x", "theirs:pässwörd")
        everywhere(200, "GET", "/v2/keys/a/x", "theirs:new")
        change(2, "DELETE", "users/ours", credentials="root:rootpw")
        everywhere(401, "GET", "/v2/keys/a/x", "ours:geheimniß")
        change(1, "DELETE", "enable", credentials="root:rootpw")
        everywhere(200, "GET", "/v2/keys/a/x")


TESTS = [
    users_and_roles_are_etcds, enabled_auth_lets_the_same_pass, any_sequence_has_the_same_answers, members_are_etcds,
    statistics_have_etcds_form, auth_is_one_in_a_cluster_with_etcd
]

if __name__ == "__main__":
    run_tests(TESTS)
