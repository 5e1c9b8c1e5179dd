# Comparisons: with a value, with an index.
run etcdctl set /c one
run etcdctl set --swap-with-value one /c two
run etcdctl set --swap-with-value one /c three
index=$(etcdctl -o extended get /c | sed -n 's/Modified-Index: //p')
run etcdctl set --swap-with-index "$index" /c three
run etcdctl set --swap-with-index "$index" /c four
run etcdctl set --swap-with-index 1 --swap-with-value x /c four
run etcdctl set --swap-with-value x /absent y
run etcdctl rm --with-value no /c
run etcdctl rm --with-index 1 /c
run etcdctl rm --with-value three /c
run etcdctl rm --with-value three /c
run etcdctl set /c five
index=$(etcdctl -o extended get /c | sed -n 's/Modified-Index: //p')
run etcdctl rm --with-index "$index" /c
