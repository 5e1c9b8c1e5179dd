"""Loads one server of the v3 API. Usage: grpc_load.py ENDPOINT MODE ARGUMENT…; prints a line of JSON at its end.

writers SECONDS THREADS   puts one key after the other; {"acknowledged": {key: value}, "unknown": {key: value}}
cache SECONDS THREADS     writes and reads what it wrote, serializably; exits 1 where a read is older
many CLIENTS              so many connections at a time, each puts, reads and keeps a watch; {"clients": n}
watch KEY                 prints the values that are put, a line each, and does not end; asks for no leader
leases CLIENTS            as many keep one lease alive, some go away, then it is revoked; {"answers": n}
"""

import json
import queue
import sys
import threading
import time

import grpc
from etcd3 import etcdrpc

SURPRISES = []


def connect(endpoint):
    return grpc.insecure_channel(endpoint, options=[("grpc.use_local_subchannel_pool", 1),
                                                    ("grpc.max_reconnect_backoff_ms", 500)])


def put(kv, key, value, timeout=5):
    return kv.Put(etcdrpc.PutRequest(key=key.encode(), value=value.encode()), timeout=timeout).header.revision


def get(kv, key, serializable, timeout=5):
    answer = kv.Range(etcdrpc.RangeRequest(key=key.encode(), serializable=serializable), timeout=timeout)
    return answer.kvs[0].value.decode() if answer.kvs else None


def run_threads(count, work):
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def writers(endpoint, seconds, count):
    acknowledged, unknown, errors = {}, {}, {}
    end = time.monotonic() + float(seconds)

    def write(number):
        kv = etcdrpc.KVStub(connect(endpoint))
        turn = 0
        while time.monotonic() < end:
            turn += 1
            key, value = f"load/{number}/{turn}", str(turn)
            try:
                # A proposal that went to a leader which died is lost: nothing would come for longer.
                put(kv, key, value, timeout=1)
                acknowledged[key] = value
            except grpc.RpcError as error:
                unknown[key] = value
                errors[error.details()] = errors.get(error.details(), 0) + 1
                time.sleep(0.05)

    run_threads(int(count), write)
    return {"acknowledged": acknowledged, "unknown": unknown, "errors": errors}


def cache(endpoint, seconds, count):
    """Each key has one writer; its value only grows. Everybody reads every key."""
    end = time.monotonic() + float(seconds)
    count = int(count)
    written = [0] * count  # acknowledged
    reads = [0] * count

    def work(number):
        kv = etcdrpc.KVStub(connect(endpoint))
        turn = 0
        while time.monotonic() < end and not SURPRISES:
            turn += 1
            if turn % 3 == 0:
                put(kv, f"cache/{number}", str(written[number] + 1))
                written[number] += 1
            other = (number + turn % 2) % count
            least = written[other]
            value = int(get(kv, f"cache/{other}", True) or 0)
            reads[number] += 1
            if value < least:
                SURPRISES.append(f"key {other}: read {value}, {least} was acknowledged")

    run_threads(count, work)
    return {"writes": sum(written), "reads": sum(reads)}


def many(endpoint, count):
    channels = [connect(endpoint) for _ in range(int(count))]
    puts = [etcdrpc.KVStub(channel).Put.future(
        etcdrpc.PutRequest(key=f"many/{i}".encode(), value=str(i).encode()), timeout=60, wait_for_ready=True)
            for i, channel in enumerate(channels)]
    for future in puts:
        future.result()
    reads = [etcdrpc.KVStub(channel).Range.future(etcdrpc.RangeRequest(key=f"many/{i}".encode()), timeout=60)
             for i, channel in enumerate(channels)]
    for i, future in enumerate(reads):
        value = future.result().kvs[0].value
        if value != str(i).encode():
            SURPRISES.append(f"client {i} read {value}")
    return {"clients": len(channels)}


class KeepAlive:
    """One client's stream."""

    def __init__(self, endpoint):
        self.requests = queue.Queue()
        self.answers = etcdrpc.LeaseStub(connect(endpoint)).LeaseKeepAlive(iter(self.requests.get, None), timeout=60)

    def ask(self, lease, times=1):
        for _ in range(times):
            self.requests.put(etcdrpc.LeaseKeepAliveRequest(ID=lease))

    def ttls(self, lease, times=1):
        answers = [next(self.answers) for _ in range(times)]
        if any(answer.ID != lease for answer in answers):
            SURPRISES.append(f"asked for {lease}: {[answer.ID for answer in answers]}")
        return {answer.TTL for answer in answers}

    def half_close(self):
        """How many more answers come until the stream ends without an error."""
        self.requests.put(None)
        return len(list(self.answers))


def leases(endpoint, count):
    lessor = etcdrpc.LeaseStub(connect(endpoint))
    lease = lessor.LeaseGrant(etcdrpc.LeaseGrantRequest(TTL=60), timeout=5).ID
    unknown = lease ^ 1
    answers = 0

    def expect(what, found, wanted):
        if found != wanted:
            SURPRISES.append(f"{what}: {found}, not {wanted}")

    clients = [KeepAlive(endpoint) for _ in range(int(count))]
    for turn in range(1, 4):
        for client in clients:
            client.ask(lease, turn)
        for client in clients:
            expect("an answer", client.ttls(lease, turn), {60})
            answers += turn
    gone, ended, clients = clients[::3], clients[1::3], clients[2::3]
    for client in gone + ended + clients:
        client.ask(lease)
    for client in gone:
        client.answers.cancel()
    for client in ended:
        expect("answers before the end", client.half_close(), 1)
    for client in clients:
        expect("an answer beside others that went", client.ttls(lease), {60})
        answers += 1
    lessor.LeaseRevoke(etcdrpc.LeaseRevokeRequest(ID=lease), timeout=5)
    for gone_lease in (lease, unknown):
        for client in clients:
            client.ask(gone_lease)
        for client in clients:
            expect("an answer for a lease that is not there", client.ttls(gone_lease), {0})
            answers += 1
    for client in clients:
        expect("answers behind the last", client.half_close(), 0)
    return {"answers": answers}


def watch(endpoint, key):
    request = etcdrpc.WatchRequest(create_request=etcdrpc.WatchCreateRequest(key=key.encode()))
    requests = queue.Queue()
    requests.put(request)
    for response in etcdrpc.WatchStub(connect(endpoint)).Watch(iter(requests.get, None)):
        for event in response.events:
            print(event.kv.value.decode(), flush=True)
    return SURPRISES.append("the watch ended")


MODES = {"writers": writers, "cache": cache, "many": many, "watch": watch, "leases": leases}


def main():
    endpoint, mode, *arguments = sys.argv[1:]
    print(json.dumps(MODES[mode](endpoint, *arguments)))
    if SURPRISES:
        sys.exit("\n".join(SURPRISES[:10]))


main()
