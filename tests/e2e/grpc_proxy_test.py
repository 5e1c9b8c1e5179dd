"""grpc-proxy in front of clusters of real processes: what clients see through it, and under faults.
usage: grpc_proxy_test.py TEST
"""

import glob
import http.client
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from cluster import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position
from grpc_proxy import GrpcProxy  # pylint: disable=wrong-import-position
from hostile import KINDS, Hostile  # pylint: disable=wrong-import-position

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "etcdctl")
CLIENTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clients")
# What is asked of members, which the proxy lists itself in place of.
NOT_THROUGH_A_PROXY = {"maintenance", "hashkv"}
PRELUDE = """run() { printf '$ %s\\n' "$*"; "$@" 2>&1; printf '= %s\\n' $?; }
wait_lines() { until [ "$(wc -l <"$2")" -ge "$1" ]; do sleep 0.05; done; }
"""


def normalised(text, endpoint):
    text = text.replace(endpoint, "ENDPOINT")
    for pattern, replacement in ((r"127\.0\.0\.1:(2\d{4}|3[01]\d{3})", "ENDPOINT"), (r"\b[0-9a-f]{13,16}\b", "ID"),
                                 (r'"(cluster_id|member_id|ID|id|lease)":\d+', r'"\1":N'),
                                 (r'"(ClusterID|MemberID)" : \d+', r'"\1" : N'), (r'"raft_term":\d+', '"raft_term":N'),
                                 (r'"RaftTerm" : \d+', '"RaftTerm" : N'), (r"remaining\(\d+s\)", "remaining(Ns)"),
                                 (r'"(ts|caller|target)":"[^"]*"', r'"\1":X'), (r"took = [0-9a-zµ.]+", "took = T"),
                                 (r'"took":"[^"]*"', '"took":T'), (r'"attempt":\d+', '"attempt":N')):
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text


def run_script(path, server):
    """What a script of etcdctl commands prints with this server alone."""
    with tempfile.TemporaryDirectory(prefix="kvorum-etcdctl-") as folder:
        environment = dict(os.environ, ETCDCTL_API="3", ETCDCTL_ENDPOINTS=server.endpoint, OUT="out")
        result = subprocess.run(["bash", "-c", f"{PRELUDE}. {path}"], cwd=folder, env=environment,
                                timeout=PATIENCE * 2, capture_output=True, text=True, check=False)
        assert not result.stderr, result.stderr
        return normalised(result.stdout, server.endpoint)


def scripts_print_the_same(members, proxy_kind, flags=(), skipped=()):
    checked = 0
    for path in sorted(glob.glob(os.path.join(SCRIPTS, "*.sh"))):
        if os.path.basename(path)[:-3] in NOT_THROUGH_A_PROXY | set(skipped):
            continue
        with Cluster([members]) as cluster:
            cluster.start()
            expected = run_script(path, cluster.members[0])
        with Cluster([members]) as cluster:
            cluster.start()
            with GrpcProxy(proxy_kind, cluster.endpoints(), flags) as proxy:
                printed = run_script(path, proxy)
                assert printed == expected, f"{path}\n---- directly\n{expected}\n---- by the proxy\n{printed}"
        assert "= 0\n" in expected, f"{path} ran nothing:\n{expected}"
        checked += 1
    assert checked >= 5, checked


def etcdctl_through_the_proxy():
    # A request that is too large for --max-send-bytes is refused by the proxy, in other words.
    scripts_print_the_same("kvorum", "kvorum", skipped=["errors"])


def etcdctl_through_the_proxy_with_a_namespace():
    scripts_print_the_same("kvorum", "kvorum", ["--namespace=team/"],
                           skipped=["errors", "locks", "compaction"])  # hashes are of the cluster's keys


def etcdctl_through_the_proxy_of_etcd_members():
    scripts_print_the_same("etcd", "kvorum", skipped=["errors"])


def etcds_proxy_of_kvorum_members():
    with Cluster(["kvorum"] * 3) as cluster:
        cluster.start()
        with GrpcProxy("etcd", cluster.endpoints(), ["--resolver-prefix=proxies", "--resolver-ttl=5"]) as proxy:
            proxy.etcdctl("put", "a", "1")
            assert proxy.etcdctl("get", "a") == "a\n1\n"
            assert proxy.etcdctl("get", "a", "--consistency=s") == "a\n1\n"
            wait_until(lambda: proxy.endpoint in proxy.etcdctl("member", "list"), "it is registered")


def python_etcd3_through_the_proxy():
    with Cluster(["kvorum"]) as cluster:
        cluster.start()
        # It asks which of the members leads: those are to be listed, not the proxy.
        with GrpcProxy("kvorum", cluster.endpoints(), ["--advertise-client-url="]) as proxy:
            subprocess.run(["/usr/bin/python3", os.path.join(CLIENTS, "python_etcd3.py"), "127.0.0.1",
                            str(proxy.client_port)], check=True, timeout=PATIENCE * 2)


def namespaces_are_apart():
    with Cluster(["kvorum"]) as cluster:
        cluster.start()
        with GrpcProxy("kvorum", cluster.endpoints(), ["--namespace=a/"]) as a, \
             GrpcProxy("kvorum", cluster.endpoints(), ["--namespace=b/"]) as b:
            a.etcdctl("put", "k", "of a")
            b.etcdctl("put", "k", "of b")
            cluster.etcdctl("put", "k", "of all")
            assert a.etcdctl("get", "k") == "k\nof a\n"
            assert b.etcdctl("get", "", "--prefix") == "k\nof b\n"
            assert b.etcdctl("get", "", "--from-key", "--consistency=s") == "k\nof b\n"
            b.etcdctl("del", "", "--prefix")
            assert cluster.etcdctl("get", "", "--prefix") == "a/k\nof a\nk\nof all\n"
            refused = a.etcdctl("put", "", "x", check=False)
            assert refused.returncode == 1 and "key is not provided" in refused.stderr, refused


def registration_is_as_etcds():
    flags = ["--resolver-prefix=proxies", "--resolver-ttl=3"]
    with Cluster(["kvorum"]) as cluster:
        cluster.start()
        with GrpcProxy("etcd", cluster.endpoints(), flags) as other, GrpcProxy("kvorum", cluster.endpoints(),
                                                                              flags) as ours:
            keys = wait_until(lambda: (lambda text: text if text.count("\n") == 4 else None)(
                cluster.etcdctl("get", "proxies/", "--prefix")), "both are registered").splitlines()
            value = dict(zip(keys[::2], keys[1::2]))
            theirs = value[f"proxies/{other.endpoint}"]
            assert value[f"proxies/{ours.endpoint}"] == theirs.replace(other.endpoint, ours.endpoint), value

            def listed(proxy):
                return sorted(re.findall(r"127\.0\.0\.1:\d+", proxy.etcdctl("member", "list")))

            both = sorted([other.endpoint, ours.endpoint])
            wait_until(lambda: listed(ours) == both, "ours lists both")
            wait_until(lambda: listed(other) == both, "etcd's lists both")
            # A session that is lost is made anew.
            lease = re.search(r'"lease":(\d+)', cluster.etcdctl("get", f"proxies/{ours.endpoint}", "-w", "json"))
            cluster.etcdctl("lease", "revoke", f"{int(lease.group(1)):x}")
            wait_until(lambda: listed(ours) == [other.endpoint], "the loss is seen")
            wait_until(lambda: listed(ours) == both, "it is registered again")
            # Who stops is gone at once, who dies after its lease.
            assert ours.terminate() == -15
            assert cluster.etcdctl("get", f"proxies/{ours.endpoint}") == ""
            other.kill()
            wait_until(lambda: cluster.etcdctl("get", "proxies/", "--prefix") == "", "the dead one is forgotten")


def load(proxy, *arguments, patience=PATIENCE * 2):
    result = subprocess.run(["/usr/bin/python3", os.path.join(CLIENTS, "grpc_load.py"), proxy.endpoint, *arguments],
                            capture_output=True, text=True, timeout=patience, check=False)
    assert result.returncode == 0, result.stdout[-1000:] + result.stderr[-2000:]
    return json.loads(result.stdout)


def cached_reads_are_not_older_than_writes():
    with Cluster(["kvorum"] * 3) as cluster:
        cluster.start()
        with GrpcProxy("kvorum", cluster.endpoints()) as proxy:
            done = load(proxy, "cache", "10", "8")
            hits = proxy.metric("etcd_grpc_proxy_cache_hits_total")
            print(f"{done['writes']} writes, {done['reads']} reads, {hits:.0f} from memory")
            assert done["writes"] > 50 and hits > 50, (done, hits)


def no_acknowledged_write_is_lost_while_members_die():
    with Cluster(["kvorum"] * 3) as cluster:
        cluster.start()
        with GrpcProxy("kvorum", cluster.endpoints()) as proxy:
            seconds = 20
            writing = threading.Thread(target=lambda: results.append(load(proxy, "writers", str(seconds), "8")))
            results = []
            writing.start()
            end = time.monotonic() + seconds - 4
            kills = 0
            while time.monotonic() < end:
                member = random.choice(cluster.members) if kills % 2 else cluster.leader()
                member.kill()
                others = [other for other in cluster.members if other is not member]
                wait_until(lambda: all(other.serves() for other in others), "the others go on")
                member.start(cluster.initial_cluster())
                cluster.wait_ready()
                kills += 1
                client = member.client()
                before = client.revision()
                wait_until(lambda: client.revision() > before + 50 or not writing.is_alive(), "writes go on")
            writing.join()
            done = results[0]
            print(f"{kills} kills, {len(done['acknowledged'])} acknowledged, {len(done['unknown'])} not: {done['errors']}")
            assert kills >= 2 and len(done["acknowledged"]) > 200, (kills, len(done["acknowledged"]), done["errors"])
            stored = cluster.members[0].client().prefix("load/")
            lost = [key for key, value in done["acknowledged"].items() if stored.get(key) != value]
            assert not lost, lost[:10]
            invented = [key for key, value in stored.items()
                        if done["acknowledged"].get(key, done["unknown"].get(key)) != value]
            assert not invented, invented[:10]
            cluster.check_same()


def a_thousand_clients_at_a_time():
    with Cluster(["kvorum"] * 3) as cluster:
        cluster.start()
        with GrpcProxy("kvorum", cluster.endpoints()) as proxy:
            assert load(proxy, "many", "1000")["clients"] == 1000


def calls_of(member, metric, method):
    """A counter of the member's calls of one method."""
    with urllib.request.urlopen(f"http://{member.endpoint}/metrics", timeout=PATIENCE) as page:
        lines = [line for line in page.read().decode().splitlines()
                 if line.startswith(metric + "{") and f'grpc_method="{method}"' in line]
    return sum(float(line.split()[-1]) for line in lines)


def one_lease_of_many_clients():
    with Cluster(["kvorum"]) as cluster:
        cluster.start()
        member = cluster.members[0]
        assert load(member, "leases", "60")["answers"] == 60 * 6 + 20 * 3  # as a member does
        with GrpcProxy("kvorum", cluster.endpoints()) as proxy:

            def asked():
                return calls_of(member, "grpc_server_msg_received_total", "LeaseKeepAlive")

            before = asked()
            answers = load(proxy, "leases", "60")["answers"]
            assert answers == 60 * 6 + 20 * 3, answers
            # How many are asked for together depends on how fast the member answers; without that they are equal.
            print(f"{answers} answers of {asked() - before:.0f}")
            assert 0 < asked() - before < answers, (answers, asked() - before)
            opened = calls_of(member, "grpc_server_started_total", "LeaseKeepAlive")
            assert opened == 61, opened  # one stream more than the sixty that asked the member


def nonsense_of_a_member_ends_nothing():
    """A member that misbehaves, and works again: calls meanwhile fail, a watch misses nothing."""
    with Cluster(["kvorum"]) as cluster, tempfile.TemporaryDirectory(prefix="kvorum-watch-") as folder:
        cluster.start()
        member = cluster.members[0]
        hostile = Hostile(member.endpoint)
        with GrpcProxy("kvorum", hostile.address) as proxy, open(os.path.join(folder, "seen"), "w+b") as seen:
            watch = subprocess.Popen(["/usr/bin/python3", os.path.join(CLIENTS, "grpc_load.py"), proxy.endpoint, "watch",
                                      "k"], stdout=seen, stderr=subprocess.STDOUT)
            before = proxy.memory()
            turn = 0
            written = []

            def arrived():
                with open(seen.name, encoding="utf-8") as lines:
                    return lines.read().splitlines() == written

            def put(server):
                written.append(f"{turn}-{len(written)}")
                server.etcdctl("put", "k", written[-1])

            wait_until(lambda: calls_of(member, "grpc_server_msg_received_total", "Watch") > 1, "it watches")
            for turn, kind in enumerate(KINDS):
                put(proxy)
                wait_until(arrived, f"events before: {kind}")
                hostile.turn(kind)
                failed = proxy.etcdctl("--command-timeout=1s", "get", "k", check=False)
                assert failed.returncode == 1, (kind, failed)
                print(f"{kind}: {failed.stderr.splitlines()[-1][:200]}")
                wait_until(lambda: hostile.asked > 0, f"it is asked: {kind}")
                assert proxy.page("/proxy/metrics")[0] == 200, kind
                put(cluster)
                assert proxy.alive(), proxy.log()
                hostile.turn(None)
                wait_until(proxy.healthy, f"it works again after: {kind}")
                put(proxy)
                wait_until(arrived, f"events after: {kind}")
            assert proxy.memory() - before < 64 << 20, (before, proxy.memory())
            watch.kill()
            watch.wait()
        hostile.close()


def pages_over_http():
    with Cluster(["kvorum"]) as cluster:
        cluster.start()
        port = free_port()
        with GrpcProxy("kvorum", cluster.endpoints(), ["--metrics-addr", f"http://127.0.0.1:{port}"]) as proxy:
            assert proxy.page("/health") == (200, '{"health":"true","reason":""}')
            assert proxy.page("/proxy/health") == (200, '{"health":"true","reason":""}')
            assert "etcd_server_has_leader 1" in proxy.page("/metrics")[1]
            assert "etcd_grpc_proxy_cache_keys_total" in proxy.page("/proxy/metrics")[1]
            assert proxy.page("/version") == (404, "404 page not found\n")
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/metrics")
            assert connection.getresponse().status == 200
            cluster.members[0].kill()
            assert proxy.page("/health") == (503,
                                             '{"health":"false","reason":"GET ERROR:context deadline exceeded"}\n')
            assert proxy.page("/metrics") == (500, "Internal server error\n")


def wrong_inputs_are_refused():
    def refused(arguments, words, program=KVORUM):
        result = subprocess.run([program, "grpc-proxy", "start", "--listen-addr", f"127.0.0.1:{free_port()}",
                                 *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert result.returncode == 1, (arguments, result)
        assert words in result.stderr, (arguments, result.stderr)

    with tempfile.TemporaryDirectory(prefix="kvorum-grpc-proxy-") as folder:
        named = os.path.join(folder, "cert.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", named + ".key", "-out",
                        named, "-subj", "/CN=root"], check=True, capture_output=True)
        for arguments, words in (
            (["--resolver-prefix=x"], "invalid resolver-ttl 0"),
            (["--resolver-ttl=5"], 'invalid resolver-prefix ""'),
            (["--resolver-prefix=x", "--resolver-ttl=5", "--advertise-client-url="], 'invalid advertise-client-url ""'),
            (["--nothing"], "unknown flag: --nothing"),
            (["--max-send-bytes=x"],
             'invalid argument "x" for "--max-send-bytes" flag: strconv.ParseInt: parsing "x": invalid syntax'),
            (["--dial-keepalive-time=1"], 'invalid argument "1" for "--dial-keepalive-time" flag: time: invalid duration'),
            (["--self-signed-cert-validity=-1"], 'invalid argument "-1" for "--self-signed-cert-validity" flag'),
            (["--endpoints="], "etcdclient: no available endpoints"),
            (["--listen-addr=127.0.0.1:1x"], "1x"),
            (["--cert-file=x"], "KeyFile and CertFile must both be present[key: , cert: x]"),
            (["--cert-file=/nowhere", "--key-file=/nowhere"], "/nowhere"),
            (["--cert=" + named, "--key=" + named + ".key"], f"cert has non empty Common Name (root): {named}"),
            (["--tls-min-version=TLS1.9"], 'tls-min-version is invalid: unexpected TLS version "TLS1.9"'),
            (["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
             "min version (TLS1.3) is greater than max version (TLS1.2)"),
            (["--experimental-leasing-prefix=x"], "--experimental-leasing-prefix is not supported"),
            (["--enable-pprof"], "--enable-pprof is not supported"),
        ):
            refused(arguments, words)
    alone = subprocess.run([KVORUM, "grpc-proxy"], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert alone.returncode == 0 and "Available Commands:" in alone.stdout, alone


def clients_reach_it_by_tls():
    with Cluster(["kvorum"]) as cluster:
        cluster.start()
        with GrpcProxy("kvorum", cluster.endpoints(), ["--auto-tls"], tls=True) as proxy:
            certificate = os.path.join(proxy.folder, "data", "fixtures", "proxy", "cert.pem")
            tls = ["--cacert", certificate, "--endpoints", f"https://{proxy.endpoint}"]
            proxy.etcdctl(*tls, "put", "a", "1")
            assert cluster.etcdctl("get", "a") == "a\n1\n"
            assert proxy.page("/proxy/health") == (200, '{"health":"true","reason":""}')


TESTS = [
    etcdctl_through_the_proxy, etcdctl_through_the_proxy_with_a_namespace, etcdctl_through_the_proxy_of_etcd_members,
    etcds_proxy_of_kvorum_members, python_etcd3_through_the_proxy, namespaces_are_apart, registration_is_as_etcds,
    cached_reads_are_not_older_than_writes, no_acknowledged_write_is_lost_while_members_die,
    a_thousand_clients_at_a_time, one_lease_of_many_clients, nonsense_of_a_member_ends_nothing, pages_over_http, wrong_inputs_are_refused,
    clients_reach_it_by_tls
]

if __name__ == "__main__":
    run_tests(TESTS)
