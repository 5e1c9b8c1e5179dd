# Ranges, prefixes, sorting, limits, old revisions.
for i in 1 2 3 4 5; do run etcdctl put "k$i" "v$((9 - i))"; done
run etcdctl put k3 third
run etcdctl put j before
run etcdctl put l after
run etcdctl get k --prefix
run etcdctl get k --prefix --keys-only
run etcdctl get k --prefix --count-only -w fields
run etcdctl get k --prefix --limit 2
run etcdctl get k --prefix --limit 2 -w json
run etcdctl get k --prefix --limit 5 -w json
run etcdctl get k1 k4
run etcdctl get k4 k1
run etcdctl get k3 --from-key
run etcdctl get "" --prefix --keys-only
run etcdctl get "" --from-key --keys-only
run etcdctl get k --prefix --order DESCEND
run etcdctl get k --prefix --order ASCEND --sort-by VALUE
run etcdctl get k --prefix --order DESCEND --sort-by MODIFY
run etcdctl get k --prefix --order ASCEND --sort-by CREATE
run etcdctl get k --prefix --order DESCEND --sort-by VERSION --limit 1
run etcdctl get k --prefix --sort-by VALUE --limit 2
run etcdctl get k3 --rev 4
run etcdctl get k3 --rev 7
run etcdctl get k --prefix --rev 3 -w json
run etcdctl get k3 --rev 99
run etcdctl get k3 --rev 99 -w json
run etcdctl get k --prefix --consistency=s
run etcdctl get k --prefix --order SIDEWAYS
run etcdctl get
run etcdctl del k1 k3
run etcdctl del k --prefix --prev-kv
run etcdctl del k --prefix
run etcdctl del l --from-key
run etcdctl get "" --prefix -w json
