# The hash of the history is etcd's own.
run etcdctl endpoint hashkv
run etcdctl put a b
run etcdctl endpoint hashkv
run etcdctl put foo bar
run etcdctl put foo ""
run etcdctl endpoint hashkv
run etcdctl del foo
run etcdctl endpoint hashkv --rev 4
printf '%s\n' '' 'put t1 1' 'put t2 2' 'del a' '' '' | run etcdctl txn
run etcdctl endpoint hashkv
run etcdctl compaction 4
run etcdctl endpoint hashkv
run etcdctl endpoint hashkv --rev 5
run etcdctl endpoint hashkv --rev 2
run etcdctl endpoint hashkv --rev 99
run etcdctl compaction 5
run etcdctl endpoint hashkv
