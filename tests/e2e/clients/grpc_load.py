"""Loads one server of the v3 API. Usage: grpc_load.py ENDPOINT MODE ARGUMENT…; prints a line of JSON at its end.

writers SECONDS THREADS   puts one key after the other; {"acknowledged": {key: value}, "unknown": {key: value}}
cache SECONDS THREADS     writes and reads what it wrote, serializably; exits 1 where a read is older
many CLIENTS              so many connections at a time, each puts, reads and keeps a watch; {"clients": n}
"""

import json
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


def main():
    endpoint, mode, *arguments = sys.argv[1:]
    print(json.dumps({"writers": writers, "cache": cache, "many": many}[mode](endpoint, *arguments)))
    if SURPRISES:
        sys.exit("\n".join(SURPRISES[:10]))


main()
