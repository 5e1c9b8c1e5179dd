#include <gtest/gtest.h>

#include "support/server.h"

namespace kvorum::test {
namespace {

// Client libraries of other languages, unmodified.

TEST(Clients, PythonEtcd3) {
  const Server server(Server::Kind::kKvorum);
  const std::string port = server.endpoint().substr(server.endpoint().find(':') + 1);
  const CommandResult result =
      Shell("/usr/bin/python3 " KVORUM_E2E_CLIENTS "/python_etcd3.py 127.0.0.1 " + port);
  EXPECT_EQ(result.out, "ok\n") << result.err;
  EXPECT_EQ(result.exit_code, 0);
}

TEST(Clients, PythonEtcd3FindsTheSameInEtcd) {
  const Server server(Server::Kind::kEtcd);
  const std::string port = server.endpoint().substr(server.endpoint().find(':') + 1);
  const CommandResult result =
      Shell("/usr/bin/python3 " KVORUM_E2E_CLIENTS "/python_etcd3.py 127.0.0.1 " + port);
  EXPECT_EQ(result.out, "ok\n") << result.err;
}

}  // namespace
}  // namespace kvorum::test
