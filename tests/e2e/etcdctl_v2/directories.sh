# Directories: made, changed, listed, removed.
run etcdctl mkdir /d
run etcdctl mkdir /d
run etcdctl mkdir /d/e/f
run etcdctl setdir /d
run etcdctl setdir /s
run etcdctl updatedir /d --ttl 600
run etcdctl updatedir /d
run etcdctl updatedir /absent
run etcdctl set /d/file value
run etcdctl set /d/_hidden value
run etcdctl set /d value
run etcdctl get /d
run etcdctl get /
run etcdctl ls --sort
run etcdctl ls / --sort -p
run etcdctl ls /d --sort
run etcdctl ls /d --sort --recursive
run etcdctl ls -r -p --sort /
run etcdctl ls -q --sort /d
run etcdctl ls /d/file
run etcdctl ls /d/_hidden
run etcdctl ls /absent
run etcdctl -o json ls / --sort --recursive
run etcdctl -o extended ls /d/file
run etcdctl rmdir /d
run etcdctl rmdir /s
run etcdctl rmdir /d/file
run etcdctl rm /d
run etcdctl rm --dir /d
run etcdctl rm --dir /d/e/f
run etcdctl rm --recursive /d
run etcdctl rm -r /
run etcdctl mkdir
run etcdctl mkdir --ttl 600 /timed
run etcdctl setdir --ttl 600 /timed
run etcdctl rmdir /timed
