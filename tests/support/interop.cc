#include "support/interop.h"

#include "base/check.h"

namespace kvorum::test {
namespace {

std::string Output(const Server& server, const std::string& command) {
  const CommandResult result =
      Shell("set -e; " + command, {{"ETCDCTL_API", "3"}, {"ETCDCTL_ENDPOINTS", server.endpoint()}});
  KVORUM_CHECK(result.exit_code == 0, "{}: {}", command, result.err);
  return result.out;
}

}  // namespace

void FillStore(const Server& server) {
  Output(server,
         "for i in $(seq 40); do etcdctl put key$((i % 7)) value$i; done;"
         "etcdctl del key3; etcdctl compact 20; etcdctl del key5; etcdctl put empty '';"
         "head -c 100000 /dev/zero | tr '\\0' v | etcdctl put large;"
         "etcdctl put --lease=$(etcdctl lease grant 10000 | cut -d ' ' -f 2) leased x;"
         "printf 'version(\"key1\") > \"0\"\\n\\nput key1 txn\\nput key2 txn\\n\\n\\n' | etcdctl txn");
}

void FillV2Store(const Server& server) {
  Output(server,
         "v2() { curl -sS --fail -o /dev/null -X \"$1\" " + server.url() +
             "/v2/keys$2; };"
             "for dir in tmp empty; do v2 DELETE \"/$dir?recursive=true\" 2>/dev/null || true; done;"
             "for i in $(seq 30); do v2 PUT \"/k$((i % 7))?value=v$i\"; done;"
             "v2 PUT '/dir/deep/er?value=x&ttl=10000'; v2 PUT '/tmp?dir=true&ttl=20000'; v2 PUT "
             "'/tmp/in?value=y';"
             "v2 PUT '/_hidden/h?value=z'; v2 PUT '/short?value=gone&ttl=1'; v2 PUT '/empty?dir=true';"
             "v2 POST '/queue?value=1'; v2 POST '/queue?value=2'; v2 DELETE /k3;"
             "v2 PUT '/k1?value=swapped&prevValue=v29'; v2 PUT "
             "'/dir/deep/er?refresh=true&ttl=30000&prevExist=true';"
             "v2 PUT '/text?value=%3C%22%C3%A9%3E%0A';"
             "for i in $(seq 100); do v2 GET /short 2>/dev/null || exit 0; sleep 0.1; done; exit 1");
}

std::string V2StoreOf(const Server& server) {
  const std::string ask = "curl -sS --fail '" + server.url() + "/v2/keys";
  return Output(server, "{ " + ask + "/?recursive=true&sorted=true'; " + ask +
                            "/_hidden?recursive=true'; } | sed 's/\"ttl\":[0-9]*,//g'");
}

std::string StoreOf(const Server& server) {
  // The head of an answer says who answered, and when.
  return Output(server,
                "etcdctl get '' --from-key -w json | sed 's/\"header\":{[^}]*},//';"
                "etcdctl endpoint hashkv | cut -d , -f 2; etcdctl lease list");
}

}  // namespace kvorum::test
