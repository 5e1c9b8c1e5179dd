# Leases: grant, attach, keep alive, look, revoke.
lease=$(etcdctl lease grant 1000 | cut -d' ' -f2)
run etcdctl put --lease="$lease" a 1
run etcdctl put --lease="$lease" b 2
run etcdctl get a -w json
run etcdctl lease list
run etcdctl lease keep-alive --once "$lease"
run etcdctl put a detached
run etcdctl lease timetolive "$lease" --keys
run etcdctl put --ignore-lease b 3
run etcdctl lease revoke "$lease"
run etcdctl get "" --prefix
run etcdctl lease timetolive "$lease"
run etcdctl lease revoke "$lease"
run etcdctl lease keep-alive --once "$lease"
run etcdctl put --lease="$lease" a 1
run etcdctl lease timetolive 1234
run etcdctl lease grant 0
run etcdctl lease grant 9000000001
run etcdctl lease list -w json
run etcdctl lease grant 3
short=$(etcdctl lease grant 1 | cut -d' ' -f2)
run etcdctl put --lease="$short" gone soon
run timeout 20 sh -c 'until [ -z "$(etcdctl get gone)" ]; do :; done'
run etcdctl get gone -w json
run etcdctl lease timetolive "$short"
