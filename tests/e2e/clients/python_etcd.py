"""Drives one server through Debian's python3-etcd, which speaks the v2 API. Arguments: host, port. Exits 1 at the
first surprise."""

import sys
import threading

import etcd
import etcd.auth

PATIENCE_SECONDS = 30


def check(what, got, want):
    if got != want:
        sys.exit(f"{what}: got {got!r}, want {want!r}")


def refused(kind, what, act):
    try:
        act()
    except kind as error:
        return error
    return sys.exit(f"{what}: nothing was raised")


def keys_and_values(client):
    written = client.write("/py/a", "1")
    check("action", written.action, "set")
    check("new", written.newKey, True)
    check("read", client.read("/py/a").value, "1")
    check("again", client.set("/py/a", "2").newKey, False)
    check("previous", client.write("/py/a", "3")._prev_node.value, "2")  # pylint: disable=protected-access
    check("quorum", client.read("/py/a", quorum=True).value, "3")
    check("update", client.update(client.read("/py/a")).action, "compareAndSwap")
    check("odd", client.write("/py/ключ", "<значение> & 'x'").value, "<значение> & 'x'")
    check("odd read", client.get("/py/ключ").value, "<значение> & 'x'")
    check("delete", client.delete("/py/a").action, "delete")
    check("cause", refused(etcd.EtcdKeyNotFound, "gone", lambda: client.read("/py/a")).payload["errorCode"], 100)
    check("in", "/py/a" in client, False)
    check("pop", client.pop("/py/ключ").value, "<значение> & 'x'")


def comparisons(client):
    first = client.write("/py/cas", "1", prevExist=False)
    refused(etcd.EtcdAlreadyExist, "made twice", lambda: client.write("/py/cas", "2", prevExist=False))
    refused(etcd.EtcdCompareFailed, "value differs", lambda: client.test_and_set("/py/cas", "2", "0"))
    check("swap", client.test_and_set("/py/cas", "2", "1").value, "2")
    refused(etcd.EtcdCompareFailed, "index differs",
            lambda: client.write("/py/cas", "3", prevIndex=first.modifiedIndex))
    refused(etcd.EtcdCompareFailed, "delete", lambda: client.delete("/py/cas", prevValue="1"))
    check("deleted", client.delete("/py/cas", prevValue="2").action, "compareAndDelete")


def directories(client):
    client.write("/py/dir", None, dir=True)
    refused(etcd.EtcdNotFile, "a directory", lambda: client.write("/py/dir", "x"))
    for name in ("b", "a", "c/d"):
        client.write("/py/dir/" + name, name)
    listing = client.read("/py/dir", recursive=True, sorted=True)
    check("leaves", [leaf.key for leaf in listing.leaves], ["/py/dir/a", "/py/dir/b", "/py/dir/c/d"])
    check("children", [child.key for child in client.read("/py/dir", sorted=True).children],
          ["/py/dir/a", "/py/dir/b", "/py/dir/c"])
    refused(etcd.EtcdDirNotEmpty, "not empty", lambda: client.delete("/py/dir", dir=True))
    refused(etcd.EtcdNotDir, "a file", lambda: client.write("/py/dir/a/below", "x"))
    client.delete("/py/dir", recursive=True)
    refused(etcd.EtcdRootReadOnly, "the root", lambda: client.delete("/", recursive=True))


def ordered_keys(client):
    made = [client.write("/py/queue", value, append=True).key for value in ("x", "y", "z")]
    check("in order", made, sorted(made))
    check("values", [leaf.value for leaf in client.read("/py/queue", sorted=True).leaves], ["x", "y", "z"])
    client.delete("/py/queue", recursive=True)


def lifetimes(client):
    check("ttl", client.write("/py/ttl", "x", ttl=100).ttl in (99, 100), True)
    check("refresh", client.refresh("/py/ttl", ttl=200).ttl in (199, 200), True)
    short = client.write("/py/short", "x", ttl=1)
    event = client.watch("/py/short", index=short.modifiedIndex + 1, timeout=PATIENCE_SECONDS)
    check("expired", (event.action, event._prev_node.value), ("expire", "x"))  # pylint: disable=protected-access
    client.delete("/py/ttl")


def watches(client, other):
    start = client.write("/py/watched", "0").modifiedIndex
    found = []
    thread = threading.Thread(target=lambda: found.append(other.watch("/py/watched", timeout=PATIENCE_SECONDS)))
    thread.start()
    turn = 0
    while thread.is_alive() and turn < 10_000:  # until the watch is there to see one
        turn += 1
        client.write("/py/watched", str(turn))
        thread.join(0.01)
    thread.join()
    check("watched", found[0].action, "set")
    check("history", client.watch("/py/watched", index=start + 1, timeout=PATIENCE_SECONDS).value, "1")
    client.write("/py/tree/leaf", "x")
    events = client.eternal_watch("/py", index=client.read("/py/tree/leaf").modifiedIndex, recursive=True)
    check("recursive", next(events).key, "/py/tree/leaf")
    for _ in range(1100):
        client.write("/py/watched", "x")
    error = refused(etcd.EtcdEventIndexCleared, "cleared",
                    lambda: client.watch("/py/watched", index=start, timeout=PATIENCE_SECONDS))
    check("cleared", error.payload["errorCode"], 401)


def locks(client, other):
    lock = etcd.Lock(client, "py-lock")
    check("acquired", lock.acquire(blocking=True, lock_ttl=60), True)
    rival = etcd.Lock(other, "py-lock")
    check("held", rival.acquire(blocking=False, lock_ttl=60), False)
    lock.release()
    check("free", rival.acquire(blocking=True, lock_ttl=60, timeout=PATIENCE_SECONDS), True)
    rival.release()


def election(client):
    # As the library leads an election: a directory of keys in order, the lowest leads.
    client.write("/py/election", "first", append=True)
    client.write("/py/election", "second", append=True)
    check("leads", next(client.read("/py/election", sorted=True).leaves).value, "first")


def cluster(client):
    check("members", len(client.members), 1)
    check("machines", client.machines, [client.base_uri])
    check("leader", client.leader["clientURLs"], [client.base_uri])
    check("stats", client.stats["state"], "StateLeader")
    check("leader stats", client.leader_stats["followers"], {})
    check("store stats", client.store_stats["setsSuccess"] > 0, True)
    check("version", client.version.startswith(("3.", "2.")), True)


def auth(client):
    user = etcd.auth.EtcdUser(client, "root")
    user.password = "secret"
    user.write()
    role = etcd.auth.EtcdRole(client, "py-role")
    role.grant("/py/*", "RW")
    role.write()
    found = etcd.auth.EtcdRole(client, "py-role")
    found.read()
    check("role", found.acls, {"/py/*": "RW"})
    switch = etcd.auth.Auth(client)
    switch.active = True
    check("on", switch.active, True)
    named = etcd.Client(host=client.host, port=client.port, username="root", password="secret", allow_redirect=False)
    check("allowed", named.write("/py/auth", "x").value, "x")
    refused(etcd.EtcdInsufficientPermissions, "guest",
            lambda: etcd.auth.EtcdRole(client, "py-role").read())
    etcd.auth.Auth(named).active = False


def main():
    clients = [etcd.Client(host=sys.argv[1], port=int(sys.argv[2]), read_timeout=PATIENCE_SECONDS) for _ in range(2)]
    for step in (keys_and_values, comparisons, directories, ordered_keys, lifetimes, election, cluster, auth):
        step(clients[0])
    watches(*clients)
    locks(*clients)
    print("ok")


if __name__ == "__main__":
    main()
