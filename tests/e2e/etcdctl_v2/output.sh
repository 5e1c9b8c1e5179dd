# The forms of output.
run etcdctl -o simple set /o one
run etcdctl -o extended set /o two
run etcdctl -o json set /o three
run etcdctl -o extended get /o
run etcdctl -o json get /o
run etcdctl -o json get /absent
run etcdctl -o extended get /absent
run etcdctl -o other get /o
run etcdctl -o json set /empty ""
run etcdctl -o json mkdir /dir
run etcdctl -o extended mkdir /dir2
run etcdctl -o json set "/html<&>" "<&>  "
run etcdctl -o json get "/html<&>"
run etcdctl -o json rm --dir /dir
run etcdctl -o extended rm --dir /dir2
run etcdctl -o json rm /o
run etcdctl -o extended rm /empty
run etcdctl --debug --no-sync set /debug "a b"
run etcdctl --debug get /debug
run etcdctl --debug ls --sort /
run etcdctl --no-sync get /debug
run etcdctl --timeout 10s --total-timeout 20s get /debug
run etcdctl --version
run etcdctl unknown
