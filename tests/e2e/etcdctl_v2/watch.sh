# Watches from an index on, so that it does not matter who is first.
run etcdctl set /w/a 1
first=$(etcdctl -o extended get /w/a | sed -n 's/Modified-Index: //p')
run etcdctl set /w/b 2
run etcdctl set /w/a 3
run etcdctl mkdir /w/d
run etcdctl rm /w/b
run etcdctl watch --after-index "$((first - 1))" /w/a
run etcdctl watch --after-index "$first" /w/a
run etcdctl watch --after-index "$first" /w/b
run etcdctl watch --after-index "$((first + 1))" /w/b
run etcdctl watch --after-index "$((first - 1))" --recursive /w
run etcdctl -o json watch --after-index "$first" -r /w
run etcdctl -o extended watch --after-index "$first" -r /
show='echo "$ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE $ETCD_WATCH_MODIFIED_INDEX"'
follow() { # LINES ARGUMENTS: what a watch prints until there are that many lines
  lines=$1
  shift
  : >"$OUT"
  etcdctl "$@" >"$OUT" 2>&1 &
  wait_lines "$lines" "$OUT"
  kill $!
  run cat "$OUT"
}
follow 2 watch --forever --after-index "$((first - 1))" /w/a
follow 8 watch -f --after-index "$((first - 1))" -r /w
# One event, as commands do not wait for one another.
follow 1 exec-watch --after-index "$first" sh -c "$show" /w/a
: >"$OUT"
etcdctl watch --forever --after-index "$((first + 4))" -r /live >"$OUT" 2>&1 &
run etcdctl set /live/x 1
wait_lines 2 "$OUT"
run etcdctl update /live/x 2
wait_lines 4 "$OUT"
run etcdctl rm /live/x
wait_lines 6 "$OUT"
kill $!
run cat "$OUT"
run etcdctl watch
run etcdctl exec-watch /w/a
