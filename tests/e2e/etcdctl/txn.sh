# Transactions, both branches, every comparison, errors.
run etcdctl put a 1
run etcdctl put b 2
txn() { printf '%s\n' "$@" | run etcdctl txn; }
txn_json() { printf '%s\n' "$@" | run etcdctl txn -w json; }
txn 'value("a") = "1"' '' 'put a 10' 'get a' '' 'get b' ''
txn 'value("a") = "1"' '' 'put a 11' '' 'get a' 'get b' ''
txn 'value("a") != "x"' 'version("b") = "1"' '' 'get a' 'del b' '' 'put never x' ''
txn 'create("b") = "0"' '' 'put b again' '' 'get b' ''
txn 'create("a") < "3"' 'mod("a") > "3"' '' 'get a' '' 'get b' ''
txn 'version("absent") = "0"' '' 'put made yes' '' ''
txn '' 'put x 1' 'get x' 'del x' '' ''
txn_json '' 'put y 1' 'get y' 'put z 2' 'get y z' '' ''
txn_json 'value("y") > "0"' '' 'del y z' '' 'get y' ''
txn '' 'put dup 1' 'put dup 2' '' ''
txn '' 'put dup 1' 'del dup' '' ''
txn '' 'del dup' 'put dup 1' '' ''
txn_json '' '' ''
txn_json 'mod("a") = "77"' '' 'put q 1' '' ''
run etcdctl get "" --prefix -w json
