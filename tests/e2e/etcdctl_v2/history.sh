# Of events that are gone a watch says so.
run etcdctl set /h 0
first=$(etcdctl -o extended get /h | sed -n 's/Modified-Index: //p')
seq 1100 | sed 's/.*/value=&/' | xargs -I{} echo 'next
url = "'"$ETCDCTL_ENDPOINTS"'/v2/keys/h"
request = PUT
output = /dev/null
data = "{}"' | sed 1d | curl -s -K -
run etcdctl get /h
run etcdctl watch --after-index "$first" /h
run etcdctl watch --after-index "$((first + 200))" /h
