# Compaction and what it leaves.
for i in 1 2 3 4 5 6; do run etcdctl put k "$i"; done
run etcdctl del k
run etcdctl put k again
run etcdctl get k --rev 3
run etcdctl compaction 4
run etcdctl get k --rev 3
run etcdctl get k --rev 4
run etcdctl get k --rev 5
run etcdctl compaction 4
run etcdctl compaction 3
run etcdctl compaction 100
run etcdctl compaction 8 --physical
run etcdctl get k --rev 8
run etcdctl get k --rev 7
run etcdctl get k
run etcdctl endpoint hashkv
run etcdctl compaction 9 -w json
run etcdctl compaction nonsense
run etcdctl compaction
run etcdctl endpoint hashkv
