# The members, and how they are. The last one leaves the cluster without a majority.
run etcdctl member list
run etcdctl cluster-health
id=$(etcdctl member list | cut -d : -f 1)
peer=$(etcdctl member list | sed 's/.*peerURLs=\([^ ]*\).*/\1/')
run etcdctl member update "$id" "$peer"
run etcdctl member update 1 http://127.0.0.1:1
run etcdctl member update "$id" not-a-url
run etcdctl member update "$id"
run etcdctl member remove 1234567890abcdef
run etcdctl member remove default
run etcdctl member remove
run etcdctl member add one
run etcdctl member add default "$peer"
run etcdctl member add other not-a-url
run etcdctl member list now
# In the order of the members' ids, which their addresses make.
run sh -c 'etcdctl member add second http://127.0.0.1:20001 | grep -v INITIAL_CLUSTER='
run sh -c 'etcdctl member list | sed "s/^[0-9a-f]*//" | sort'
run sh -c 'etcdctl --total-timeout 20s cluster-health >health; echo "exit $?"; sed "s/member [0-9a-f]*/member/" health | sort'
