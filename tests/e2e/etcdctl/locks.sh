# The client's own recipes: locks, elections, mirrors.
run etcdctl lock name echo inside
run sh -c 'timeout 20 etcdctl lock name sh -c "etcdctl get name --prefix --keys-only | wc -l"'
run sh -c 'timeout 20 etcdctl elect poll candidate | head -n 2 | tail -n 1'
run etcdctl put m/1 a
run etcdctl get m/ --prefix
