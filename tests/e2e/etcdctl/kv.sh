# put, get and del in their plain forms.
run etcdctl put foo bar
run etcdctl get foo
run etcdctl get foo --print-value-only
run etcdctl get foo -w fields
run etcdctl get foo -w json
run etcdctl put foo baz --prev-kv
run etcdctl put foo qux --prev-kv -w json
run etcdctl put empty ""
run etcdctl get empty -w json
run etcdctl get absent
run etcdctl get absent -w json
run etcdctl put --ignore-value foo
run etcdctl put --ignore-value absent
run etcdctl put --ignore-lease foo again
run etcdctl put --ignore-lease absent x
run etcdctl get foo --hex
run etcdctl del foo --prev-kv
run etcdctl del foo
run etcdctl get foo
run etcdctl put foo reborn
run etcdctl get foo -w fields
run sh -c 'printf "from\0stdin\n" | etcdctl put binary'
run etcdctl get binary -w json
run etcdctl put "ключ" "значение 值"
run etcdctl get "ключ"
