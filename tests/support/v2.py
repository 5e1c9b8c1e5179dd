"""The v2 API, for tests that need to see its answers as they are."""

import http.client
import json
import threading
import urllib.parse

from cluster import LOST, PATIENCE


class Answer:
    """Status, headers (names in lower case), and the body, read as JSON where it is some."""

    def __init__(self, response, body):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.text = body.decode("utf-8", "replace")
        try:
            self.body = json.loads(self.text)
        except ValueError:
            self.body = {}

    @property
    def index(self):
        return int(self.headers.get("x-etcd-index", 0))

    @property
    def node(self):
        return self.body.get("node", {})

    @property
    def code(self):
        """Of an error; 0 where it is none."""
        return self.body.get("errorCode", 0)

    def __repr__(self):
        return f"{self.status} {self.text[:300]}"


class V2Client:
    """A connection to the v2 API of one member. Of one thread."""

    def __init__(self, port, timeout=10):
        self.port = port
        self.timeout = timeout
        self.connection = None

    def call(self, method, path, form=None, timeout=None, headers=None, body=None, **query):
        """One request; OSError or HTTPException where no answer came. True is written `true`."""
        text = urllib.parse.urlencode({name: plain(value) for name, value in query.items()})
        headers = dict(headers or {})
        if form is not None:
            body = urllib.parse.urlencode({name: plain(value) for name, value in form.items()})
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port)
            self.connection.timeout = timeout or self.timeout
            if self.connection.sock is not None:
                self.connection.sock.settimeout(timeout or self.timeout)
            self.connection.request(method, path + ("?" + text if text else ""), body, headers)
            response = self.connection.getresponse()
            return Answer(response, response.read())
        except LOST:
            self.close()
            raise

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def get(self, key, **query):
        return self.call("GET", "/v2/keys" + key, **query)

    def put(self, key, value=None, timeout=None, **form):
        """The conditions and the ttl are given by name."""
        if value is not None:
            form["value"] = value
        return self.call("PUT", "/v2/keys" + key, form, timeout)

    def delete(self, key, **query):
        return self.call("DELETE", "/v2/keys" + key, **query)

    def post(self, key, value, **form):
        return self.call("POST", "/v2/keys" + key, dict(form, value=value))


def plain(value):
    return {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else value


def v2(member, timeout=10):
    return V2Client(member.client_port, timeout)


class Stream(threading.Thread):
    """A watcher of a member, stream=true or a long poll after the other, that notes what it gets."""

    def __init__(self, member, key, since=0, recursive=False, follow=False):
        """`follow`: long polls, each from where the last one was, on and on over lost connections; else one
        stream, which ends with its connection."""
        super().__init__(daemon=True)
        self.member = member
        self.key = key
        self.since = since
        self.recursive = recursive
        self.follow = follow
        self.events = []
        self.open = threading.Event()
        self.stopping = False
        self.errors = []
        self.start()

    def indexes(self):
        return [event["node"]["modifiedIndex"] for event in self.events]

    def run(self):
        while not self.stopping:
            try:
                self._watch()
            except (*LOST, ValueError) as error:
                if not self.follow:
                    self.errors.append(error)
            if not self.follow:
                return

    def _watch(self):
        query = {"wait": "true"}
        if self.recursive:
            query["recursive"] = "true"
        if not self.follow:
            query["stream"] = "true"
        if self.since:
            query["waitIndex"] = self.since
        connection = http.client.HTTPConnection("127.0.0.1", self.member.client_port, timeout=PATIENCE)
        try:
            connection.request("GET", f"/v2/keys{self.key}?{urllib.parse.urlencode(query)}")
            response = connection.getresponse()
            if not self.since:  # a later poll may not miss what comes while it has none open
                self.since = int(response.getheader("x-etcd-index", "0")) + 1
            self.open.set()
            for line in response:
                event = json.loads(line)
                if "errorCode" in event:
                    self.errors.append(event)
                    self.stopping = True
                    return
                self.events.append(event)
                self.since = event["node"]["modifiedIndex"] + 1
        finally:
            connection.close()
