# Keys that the server names.
run etcdctl mk --in-order /q first
run etcdctl mk --in-order /q second
run etcdctl mk --in-order --ttl 600 /q third
run etcdctl -o extended mk --in-order /q fourth
run etcdctl ls /q --sort
run etcdctl set /file x
run etcdctl mk --in-order /file x
