# Members, alarms, health, defragmentation.
run etcdctl member list
run etcdctl member list -w table
run etcdctl member list -w json
run etcdctl endpoint health
run etcdctl endpoint status -w json
run etcdctl alarm list
run etcdctl alarm disarm
run etcdctl defrag
run etcdctl put after defrag
run etcdctl get after
run etcdctl endpoint health -w json
