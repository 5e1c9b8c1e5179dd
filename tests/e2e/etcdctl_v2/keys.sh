# set, get, mk, update and rm of files.
run etcdctl set /foo bar
run etcdctl get /foo
run etcdctl get foo
run etcdctl get --quorum /foo
run etcdctl get -q foo --sort
run etcdctl set /foo baz
run etcdctl update /foo qux
run etcdctl update /absent x
run etcdctl mk /foo again
run etcdctl mk /made new
run etcdctl get /absent
run etcdctl get /absent/deep
run etcdctl rm /foo
run etcdctl rm /foo
run etcdctl set /empty ""
run sh -c 'printf "from stdin" | etcdctl set /stdin'
run sh -c 'etcdctl set /stdin </dev/null'
run sh -c 'printf "more" | etcdctl update /stdin'
run sh -c 'printf "other" | etcdctl mk /stdin2'
run etcdctl get /stdin
run etcdctl set -- /dash -value
run etcdctl set "/ключ с пробелом" "значение <&>"
run etcdctl get "/ключ с пробелом"
run etcdctl set "/a+b%20c?d#e" "odd"
run etcdctl get "/a+b%20c?d#e"
run etcdctl ls / --sort
run etcdctl set
run etcdctl get
run etcdctl rm
run etcdctl mk
run etcdctl update
