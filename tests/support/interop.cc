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

std::string StoreOf(const Server& server) {
  // The head of an answer says who answered, and when.
  return Output(server,
                "etcdctl get '' --from-key -w json | sed 's/\"header\":{[^}]*},//';"
                "etcdctl endpoint hashkv | cut -d , -f 2; etcdctl lease list");
}

}  // namespace kvorum::test
