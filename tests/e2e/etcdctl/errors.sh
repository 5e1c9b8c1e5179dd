# What clients are told when they ask for the impossible.
run etcdctl put "" x
run etcdctl put k
run etcdctl get ""
run etcdctl del ""
run sh -c 'head -c 1600000 /dev/zero | tr "\0" x | etcdctl put big'
run sh -c 'head -c 2200000 /dev/zero | tr "\0" x | etcdctl put bigger'
run etcdctl get k --rev -1
run etcdctl put --lease=zz k v
run etcdctl put --lease=77 k v
run etcdctl move-leader 1234
run sh -c '(echo; for i in $(seq 129); do echo "put k$i v"; done; echo; echo) | etcdctl txn'
run sh -c '(echo; for i in $(seq 128); do echo "put k$i v"; done; echo; echo) | etcdctl txn | sort | uniq -c'
