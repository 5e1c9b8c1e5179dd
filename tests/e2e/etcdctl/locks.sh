# The client's own recipes: locks, elections, mirrors.
run etcdctl lock name echo inside
run sh -c 'timeout 20 etcdctl lock name sh -c "etcdctl get name --prefix --keys-only | wc -l"'
: >"$OUT"
etcdctl elect poll candidate >"$OUT" 2>&1 &
wait_lines 2 "$OUT"
kill $!
run tail -n 1 "$OUT"
run etcdctl put m/1 a
run etcdctl get m/ --prefix
