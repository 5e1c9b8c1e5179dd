# Users, roles, permissions.
run etcdctl auth enable
run etcdctl auth disable
run etcdctl user list
run etcdctl role list
run etcdctl user add root:secret
run etcdctl user add root:secret
run etcdctl user add ann:word
run etcdctl user add
run etcdctl user get root
run etcdctl user get ann
run etcdctl user get nobody
run etcdctl user list
run etcdctl role add readers
run etcdctl role add readers
run etcdctl role add root
run etcdctl role get readers
run etcdctl role get nothing
run etcdctl role grant readers --path '/a/*' --read
run etcdctl role grant readers --path '/a/*' --read
run etcdctl role grant readers --path '/w' --readwrite
run etcdctl role grant readers --path '/w' --rw
run etcdctl role grant readers --path '/x' --write
run etcdctl role grant readers --path '/x' --write --read
run etcdctl role grant readers --read
run etcdctl role grant readers --path /x
run etcdctl role revoke readers --path /x --write
run etcdctl role revoke readers --path /x --write
run etcdctl role get readers
run etcdctl role get root
run etcdctl role list
run etcdctl user grant ann --roles readers
run etcdctl user grant ann --roles readers
run etcdctl user grant ann --roles other,third
run etcdctl user revoke ann --roles other,third
run etcdctl user revoke ann --roles nothing
run etcdctl user grant ann
run etcdctl user grant nobody --roles readers
run etcdctl user get ann
run sh -c 'printf "new\n" | etcdctl user passwd ann'
run sh -c 'printf "new\n" | etcdctl user add bob'
run etcdctl user passwd nobody
run etcdctl set /a/b 1
run etcdctl set /w 1
run etcdctl set /z 1
run etcdctl auth enable
run etcdctl -u root:secret auth enable
run etcdctl get /z
run etcdctl role list
run etcdctl -u ann:word get /a/b
run etcdctl -u ann:new get /a/b
run etcdctl -u ann:new set /a/b 2
run etcdctl -u ann:new set /w 2
run etcdctl -u ann:new get /z
run etcdctl -u ann:new user list
run etcdctl -u ann:wrong get /a/b
run etcdctl -u ann:new ls -r --sort /a
run etcdctl -u root:secret role revoke guest --path '/*' --readwrite
run etcdctl get /z
run etcdctl set /z 2
run etcdctl -u root:secret get /z
run etcdctl -u root:secret user remove root
run etcdctl -u ann:new auth disable
run etcdctl -u root:secret auth disable
run etcdctl user remove ann
run etcdctl user remove ann
run etcdctl user remove root
run etcdctl role remove readers
run etcdctl role remove readers
run etcdctl role remove root
run etcdctl role list
run etcdctl user list
