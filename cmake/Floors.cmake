# Which folder of src/ may use which others: the whole list, written once. kvorum_library() refuses any other
# link, and tests/house checks the #include lines against the same list.
#
# A folder may use only what stands on a lower line of its column, so nothing points up.

set(KVORUM_USES_base "")
set(KVORUM_USES_base_testing "base")

# floor 1, ground row: know nothing but base
set(KVORUM_USES_raft "base")
set(KVORUM_USES_backend "base")
set(KVORUM_USES_http "base")
set(KVORUM_USES_v2store "base")
set(KVORUM_USES_config "base")

# floor 1, upper row: each stands on one room of the ground row
set(KVORUM_USES_wal "base;raft")
set(KVORUM_USES_snap "base;raft")
set(KVORUM_USES_mvcc "base;backend")
set(KVORUM_USES_lease "base;backend")
set(KVORUM_USES_auth "base;backend")
set(KVORUM_USES_cluster "base;backend;raft;v2store")
set(KVORUM_USES_grpc "base;http")
set(KVORUM_USES_bbolt "base;backend")
set(KVORUM_USES_dns "base")
set(KVORUM_USES_discovery "base;config;http;grpc;dns")

# floor 2
set(KVORUM_USES_member "base;raft;wal;snap;backend;mvcc;v2store;lease;auth;cluster")
set(KVORUM_USES_peer "base;raft;backend;bbolt;snap;http;cluster;lease;mvcc;member")
set(KVORUM_USES_bootstrap "base;raft;wal;snap;backend;bbolt;v2store;cluster;member")

# floor 3
set(KVORUM_USES_api_v3 "base;config;raft;backend;bbolt;mvcc;lease;auth;cluster;http;grpc;member")
set(KVORUM_USES_api_admin "base;raft;backend;mvcc;cluster;http;grpc;member")
set(KVORUM_USES_api_gateway "base;http;grpc")
set(KVORUM_USES_api_v2 "base;config;raft;cluster;v2store;http;member")
set(KVORUM_USES_client "base;http;grpc")
set(KVORUM_USES_proxy_tcp "base;http;dns")
set(KVORUM_USES_proxy_http "base;http;grpc;api_v2;api_admin")
set(KVORUM_USES_proxy_grpc "base;http;grpc;api_admin;api_gateway")

# floor 4
set(KVORUM_USES_cmd_kvorum
    "base;config;raft;wal;snap;backend;bbolt;mvcc;lease;auth;cluster;http;grpc;member;bootstrap;peer;api_v2;api_v3;api_admin;api_gateway;v2store;dns;discovery;proxy_tcp;proxy_http;proxy_grpc")
set(KVORUM_USES_cmd_kvorumutl
    "base;raft;wal;snap;backend;bbolt;mvcc;v2store;lease;cluster;http;grpc;member;bootstrap")

# Beside the floors: whole clusters in one thread.
set(KVORUM_USES_sim_check "base;raft;mvcc;v2store;lease;cluster")
set(KVORUM_USES_sim "sim_check;base;base_testing;raft;wal;snap;backend;mvcc;v2store;lease;cluster;member;bootstrap")
set(KVORUM_USES_sim_scenarios "sim;sim_check;base;raft;backend;mvcc;lease;cluster;member")
set(KVORUM_USES_cmd_kvorum_sim "base;sim;sim_check")
