"""Drives one server through Debian's python3-etcd3. Arguments: host, port. Exits 1 at the first surprise."""

import queue
import sys

import etcd3

PATIENCE_SECONDS = 30


def check(what, got, want):
    if got != want:
        sys.exit(f"{what}: got {got!r}, want {want!r}")


def next_event(events):
    try:
        return events.get(timeout=PATIENCE_SECONDS)
    except queue.Empty:
        sys.exit("no event came")


def keys_and_values(client):
    client.put("py/a", "1")
    client.put("py/b", "2")
    value, meta = client.get("py/a")
    check("get", value, b"1")
    check("version", meta.version, 1)
    check("prefix", [v for v, _ in client.get_prefix("py/")], [b"1", b"2"])
    check("descending", [v for v, _ in client.get_prefix("py/", sort_order="descend")], [b"2", b"1"])
    check("delete", client.delete("py/a"), True)
    check("delete again", client.delete("py/a"), False)
    check("gone", client.get("py/a"), (None, None))
    check("replace", client.replace("py/b", "2", "3"), True)
    check("replace again", client.replace("py/b", "2", "4"), False)
    check("put if absent", client.put_if_not_exists("py/b", "5"), False)


def transactions(client):
    succeeded, responses = client.transaction(
        compare=[client.transactions.value("py/b") == "3", client.transactions.version("py/none") == 0],
        success=[client.transactions.put("py/c", "x"), client.transactions.get("py/c")],
        failure=[client.transactions.delete("py/b")],
    )
    check("txn branch", succeeded, True)
    check("txn reads its own write", responses[1][0][0], b"x")


def watches(client):
    events = queue.Queue()
    watch_id = client.add_watch_callback("py/w", lambda response: [events.put(e) for e in response.events], prev_kv=True)
    client.put("py/w", "one")
    client.put("py/w", "two")
    client.delete("py/w")
    check("first event", next_event(events).value, b"one")
    second = next_event(events)
    check("second event", (second.value, second.prev_value), (b"two", b"one"))
    check("third event", type(next_event(events)).__name__, "DeleteEvent")
    client.cancel_watch(watch_id)


def leases(client):
    lease = client.lease(60)
    client.put("py/leased", "v", lease=lease)
    check("granted", lease.granted_ttl, 60)
    check("keys", list(lease.keys), [b"py/leased"])
    list(lease.refresh())
    lease.revoke()
    check("revoked", client.get("py/leased"), (None, None))


def locks(client):
    with client.lock("py-lock", ttl=30) as lock:
        check("locked", lock.is_acquired(), True)


def cluster(client):
    members = list(client.members)
    check("members", len(members), 1)
    check("leader", client.status().leader.id, members[0].id)
    check("hash", isinstance(client.hash(), int), True)
    check("alarms", list(client.list_alarms()), [])
    client.compact(client.get("py/b")[1].mod_revision)
    client.defragment()


def main():
    client = etcd3.client(host=sys.argv[1], port=int(sys.argv[2]), timeout=PATIENCE_SECONDS)
    for step in (keys_and_values, transactions, watches, leases, locks, cluster):
        step(client)
    client.close()
    print("ok")


if __name__ == "__main__":
    main()
