# Watching history and live changes.
run etcdctl put w1 a
run etcdctl put w1 b
run etcdctl put w2 c
run etcdctl del w1
run etcdctl put w1 d
watch_lines() { # LINES ARGUMENTS: what a watch prints until there are that many lines
  lines=$1
  shift
  : >"$OUT"
  etcdctl watch "$@" >"$OUT" 2>&1 &
  wait_lines "$lines" "$OUT"
  kill $!
  run cat "$OUT"
}
watch_lines 12 w1 --rev 1
watch_lines 9 w1 --rev 3
watch_lines 15 w --prefix --rev 1
watch_lines 13 w1 --rev 3 --prev-kv
watch_lines 6 w1 w2 --rev 5
: >"$OUT"
etcdctl watch live --rev 7 >"$OUT" 2>&1 &
run etcdctl put live 1
wait_lines 3 "$OUT"
run etcdctl del live
wait_lines 6 "$OUT"
kill $!
run cat "$OUT"
run etcdctl compaction 4
run timeout 20 etcdctl watch w1 --rev 2
watch_lines 6 w1 --rev 4
run timeout 20 etcdctl watch b a --rev 1
