# Keys that expire; how much they have left depends on the moment.
run etcdctl set --ttl 1000 /t x
run sh -c 'etcdctl -o extended get /t | sed "s/^TTL: [0-9]\{3,4\}$/TTL: T/"'
run etcdctl update --ttl 2000 /t y
run etcdctl update /t z
run etcdctl -o extended get /t
made=$(etcdctl -o extended set --ttl 1 /short x | sed -n 's/Modified-Index: //p')
run etcdctl watch --after-index "$made" /short
run etcdctl get /short
run etcdctl set --ttl -1 /t x
run etcdctl set --ttl x /t x
