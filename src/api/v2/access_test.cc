#include "api/v2/access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "absl/strings/escaping.h"
#include "api/v2/auth_table.h"
#include "api/v2/testing/served.h"

namespace kvorum::api_v2 {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using testing::Response;

struct Step {
  std::string method;
  std::string path;  ///< after /v2/auth
  std::string body;
  int status;
  std::string answer;  ///< with `\n` at the end where it is no message
};

std::string Message(const std::string& text) { return "{\"message\":\"" + text + "\"}"; }

std::string Basic(const std::string& credentials) {
  return "Authorization: Basic " + absl::Base64Escape(credentials) + "\r\n";
}

class V2Access : public ::testing::Test {
 protected:
  Response Ask(const std::string& method, const std::string& path, const std::string& body = "",
               const std::string& credentials = "") {
    return served_.Ask(method, path, credentials.empty() ? "" : Basic(credentials), body);
  }
  void Play(const std::vector<Step>& steps) {
    for (const Step& step : steps) {
      const Response response = Ask(step.method, "/v2/auth" + step.path, step.body);
      EXPECT_EQ(response.status, step.status) << step.method << " " << step.path << " " << step.body;
      EXPECT_EQ(response.body, step.answer) << step.method << " " << step.path << " " << step.body;
    }
  }
  /// Root with the password "rootpw", and auth on.
  void EnableAuth() {
    Play({{"PUT", "/users/root", R"({"user":"root","password":"rootpw"})", 201,
           "{\"user\":\"root\",\"roles\":[\"root\"]}\n"},
          {"PUT", "/enable", "", 200, ""}});
  }
  std::string Stored(const std::string& path) {
    return ReadFile(served_.member.v2_store(), path).value_or("none");
  }
  int Key(const std::string& method, const std::string& key, const std::string& credentials = "") {
    return Ask(method, "/v2/keys" + key, "", credentials).status;
  }

  testing::Served served_;
};

TEST_F(V2Access, Enabling) {
  Play({{"GET", "/enable", "", 200, "{\"enabled\":false}\n"},
        {"DELETE", "/enable", "", 409, Message("auth: already disabled")},
        {"PUT", "/enable", "", 409, Message("auth: No root user available, please create one")}});
  EXPECT_EQ(Stored("/2/enabled"), "none");
  EnableAuth();
  EXPECT_EQ(Stored("/2/enabled"), "true");
  EXPECT_EQ(Stored("/2/roles/guest"),
            R"({"role":"guest","permissions":{"kv":{"read":["/*"],"write":["/*"]}}})");
  Play({{"GET", "/enable", "", 200, "{\"enabled\":true}\n"},
        {"PUT", "/enable", "", 401, Message("Insufficient credentials")}});
  const std::string root = "root:rootpw";
  EXPECT_EQ(Ask("PUT", "/v2/auth/enable", "", root).body, Message("auth: already enabled"));
  EXPECT_EQ(Ask("DELETE", "/v2/auth/users/root", "", root).body,
            Message("auth: Cannot delete root user while auth is enabled."));
  EXPECT_EQ(Ask("DELETE", "/v2/auth/enable", "", root).status, 200);
  EXPECT_EQ(Stored("/2/enabled"), "false");
  Play({{"PUT", "/enable", "", 200, ""}});  // with the guest that is there
}

TEST_F(V2Access, Users) {
  const std::string mixed = "User JSON contains both roles and grant/revoke";
  Play({{"GET", "/users", "", 200, "{\"users\":null}\n"},
        {"GET", "/users/x", "", 404, Message("auth: User x does not exist.")},
        {"DELETE", "/users/x", "", 404, Message("auth: User x does not exist")},
        {"PUT", "/users/u", "x", 400, Message("Invalid JSON in request body.")},
        {"PUT", "/users/u", R"({"user":"v"})", 400,
         Message("User JSON name does not match the name in the URL")},
        {"PUT", "/users/u", R"({"user":"u"})", 400,
         Message("auth: Cannot create user u with an empty password")},
        {"PUT", "/users/u", R"({"user":"u","grant":["r"]})", 404, Message("auth: User u does not exist.")},
        {"PUT", "/users/u", R"({"user":"u","grant":["r"],"roles":["s"]})", 400, Message(mixed)},
        {"PUT", "/users/u", R"({"user":"u","password":"pw"} trailing)", 201,
         "{\"user\":\"u\",\"roles\":null}\n"},
        {"PUT", "/users/u", R"({"user":"u"})", 200, "{\"user\":\"u\",\"roles\":[]}\n"},
        {"PUT", "/users/u", R"({"user":"u"})", 400,
         Message("auth: User not updated. Use grant/revoke/password to update the user.")},
        {"PUT", "/users/u", R"({"user":"u","password":"pw2"})", 200, "{\"user\":\"u\",\"roles\":[]}\n"},
        {"PUT", "/users/u", R"({"user":"u","grant":["r","a<b"]})", 200,
         "{\"user\":\"u\",\"roles\":[\"a\\u003cb\",\"r\"]}\n"},
        {"PUT", "/users/u", R"({"user":"u","grant":["r"]})", 409,
         Message("auth: Granting duplicate role r for user u")},
        {"PUT", "/users/u", R"({"user":"u","revoke":["s"]})", 409,
         Message("auth: Revoking ungranted role s for user u")},
        {"PUT", "/users/u", R"({"user":"u","roles":["x"],"password":"p"})", 409,
         Message("auth: User u already exists.")},
        {"GET", "/users/u", "", 404, Message("auth: Role a\\u003cb does not exist.")},
        {"PUT", "/users/w", R"({"user":"w","roles":["z","a"],"password":"p"})", 200,
         "{\"user\":\"w\",\"roles\":[\"z\",\"a\"]}\n"},
        {"GET", "/users/", "", 200, "{\"users\":[{\"user\":\"u\"},{\"user\":\"w\"}]}\n"},
        {"DELETE", "/users/w", "", 200, ""},
        {"GET", "/users/w", "", 404, Message("auth: User w does not exist.")},
        {"PUT", "/users/u", "{\"user\":\"u\",\"password\":\"a\\u0000b\"}", 400,
         Message("auth: The password of user u has a NUL character")}});
  EXPECT_THAT(Stored("/2/users/u"),
              MatchesRegex(R"(\{"user":"u","password":"\$2a\$10\$[^"]+","roles":\["a.u003cb","r"\]\})"));
}

TEST_F(V2Access, UsersShowTheirRoles) {
  Play(
      {{"PUT", "/roles/r", R"({"role":"r","permissions":{"kv":{"read":["/a"]}}})", 201,
        "{\"role\":\"r\",\"permissions\":{\"kv\":{\"read\":[\"/a\"],\"write\":null}}}\n"},
       {"PUT", "/users/u", R"({"user":"u","password":"p","roles":["r","none"]})", 200,
        "{\"user\":\"u\",\"roles\":[\"r\",\"none\"]}\n"},
       {"GET", "/users", "", 200,
        R"({"users":[{"user":"u","roles":[{"role":"r","permissions":{"kv":{"read":["/a"],"write":null}}}]}]})"
        "\n"},
       {"PUT", "/users/u", R"({"user":"u","revoke":["none"]})", 200, "{\"user\":\"u\",\"roles\":[\"r\"]}\n"},
       {"GET", "/users/u", "", 200,
        R"({"user":"u","roles":[{"role":"r","permissions":{"kv":{"read":["/a"],"write":null}}}]})"
        "\n"}});
}

TEST_F(V2Access, Roles) {
  const std::string fixed = Message("auth: Cannot modify role root: is root role.");
  const std::string root = R"({"role":"root","permissions":{"kv":{"read":["/*"],"write":["/*"]}}})";
  const std::string empty = R"({"role":"r","permissions":{"kv":{"read":null,"write":null}}})";
  Play({{"GET", "/roles", "", 200, "{\"roles\":[" + root + "]}\n"},
        {"GET", "/roles/root", "", 200, root + "\n"},
        {"GET", "/roles/r", "", 404, Message("auth: Role r does not exist.")},
        {"PUT", "/roles/root", R"({"role":"root"})", 403, fixed},
        {"DELETE", "/roles/root", "", 403, fixed},
        {"DELETE", "/roles/r", "", 404, Message("auth: Role r doesn't exist.")},
        {"PUT", "/roles/r", "[]", 400, Message("Invalid JSON in request body.")},
        {"PUT", "/roles/r", R"({"role":"s"})", 400,
         Message("Role JSON name does not match the name in the URL")},
        {"PUT", "/roles/r", R"({"role":"r","grant":{"kv":{"read":["/a"]}}})", 404,
         Message("auth: Role r does not exist.")},
        {"PUT", "/roles/r", R"({"role":"r"})", 201, empty + "\n"},
        {"PUT", "/roles/r", R"({"role":"r"})", 409, Message("auth: Role r already exists.")},
        {"PUT", "/roles/r",
         R"({"role":"r","grant":{"kv":{"read":["/a"]}},"permissions":{"kv":{"read":["/b"]}}})", 400,
         Message("Role JSON contains both permissions and grant/revoke")},
        {"PUT", "/roles/r", R"({"role":"r","grant":{"kv":{"read":["/b","/a"]}}})", 200,
         "{\"role\":\"r\",\"permissions\":{\"kv\":{\"read\":[\"/a\",\"/b\"],\"write\":[]}}}\n"},
        {"PUT", "/roles/r", R"({"role":"r","grant":{"kv":{"read":["/b"]}}})", 409,
         Message("auth: Granting duplicate read permission /b")},
        {"PUT", "/roles/r", R"({"role":"r","revoke":{"kv":{"write":["/b"]}}})", 400,
         Message("auth: Role not updated. Use grant/revoke to update the role.")},
        {"PUT", "/roles/r", R"({"role":"r","grant":{"kv":{"read":[""]}}})", 400,
         Message("auth: Role r has an empty pattern.")},
        {"PUT", "/roles/s", R"({"role":"s","permissions":{"kv":{"write":[""]}}})", 400,
         Message("auth: Role s has an empty pattern.")},
        {"DELETE", "/roles/r", "", 200, ""},
        {"GET", "/roles/", "", 200, "{\"roles\":[" + root + "]}\n"}});
}

TEST_F(V2Access, ChangesAtOnceAllCount) {
  Play({{"PUT", "/roles/r", R"({"role":"r"})", 201,
         "{\"role\":\"r\",\"permissions\":{\"kv\":{\"read\":null,\"write\":null}}}\n"},
        {"PUT", "/users/u", R"({"user":"u","password":"p"})", 201, "{\"user\":\"u\",\"roles\":null}\n"}});
  std::vector<std::thread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&, i] {
      for (int k = 0; k < 10; ++k) {
        const std::string name = fmt::format("/{}-{}", i, k);
        EXPECT_EQ(Ask("PUT", "/v2/auth/roles/r",
                      fmt::format(R"({{"role":"r","grant":{{"kv":{{"read":["{}"]}}}}}})", name))
                      .status,
                  200);
        EXPECT_EQ(
            Ask("PUT", "/v2/auth/users/u", fmt::format(R"({{"user":"u","grant":["{}"]}})", name)).status,
            200);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(ParseRole(Stored("/2/roles/r"))->permissions.read->size(), 80u);
  EXPECT_EQ(ParseUser(Stored("/2/users/u"))->roles->size(), 80u);
}

TEST_F(V2Access, PathsAndMethods) {
  Play({{"GET", "/users/a/b", "", 400, Message("Invalid path")},
        {"PUT", "/roles/a/b", "", 400, Message("Invalid path")},
        {"GET", "/enable/", "", 404, "404 page not found\n"},
        {"GET", "/other", "", 404, "404 page not found\n"}});
  const std::pair<std::string, std::string> cases[] = {{"POST /v2/auth/enable", "GET,PUT,DELETE"},
                                                       {"PUT /v2/auth/users/", "GET"},
                                                       {"POST /v2/auth/roles", "GET"},
                                                       {"HEAD /v2/auth/users/u", "GET,PUT,DELETE"},
                                                       {"POST /v2/auth/roles/r", "GET,PUT,DELETE"}};
  for (const auto& [line, allow] : cases) {
    const size_t space = line.find(' ');
    const Response response = Ask(line.substr(0, space), line.substr(space + 1));
    EXPECT_EQ(response.status, 405) << line;
    EXPECT_EQ(response.Header("allow"), allow) << line;
    EXPECT_EQ(response.Header("x-etcd-cluster-id"), "-") << line;
  }
}

TEST_F(V2Access, Headers) {
  const Response good = Ask("GET", "/v2/auth/enable");
  EXPECT_EQ(good.Header("content-type"), "application/json");
  EXPECT_EQ(good.Header("x-etcd-cluster-id"), "def");
  const Response missing = Ask("GET", "/v2/auth/users/u");
  EXPECT_EQ(missing.Header("content-type"), "application/json");
  EXPECT_EQ(missing.Header("x-etcd-cluster-id"), "def");
  EnableAuth();
  const Response denied = Ask("GET", "/v2/auth/users");
  EXPECT_EQ(denied.status, 401);
  EXPECT_EQ(denied.body, Message("Insufficient credentials"));
  EXPECT_EQ(denied.Header("x-etcd-cluster-id"), "-");
  EXPECT_EQ(denied.Header("www-authenticate"), "-");
}

TEST_F(V2Access, NothingBeforeTheClusterHasAVersion) {
  served_.member.mutable_cluster().SetVersion("", cluster::Cluster::Persist::kNo);
  const std::string text = Message("Not capable of accessing auth feature during rolling upgrades.");
  Play({{"GET", "/enable", "", 500, text}, {"POST", "/users/a/b", "", 500, text}});
}

TEST_F(V2Access, FailuresOfTheClusterAreTold) {
  served_.member.v2_status = absl::FailedPreconditionError("member 7 takes no v2 entries");
  Play({{"PUT", "/roles/r", R"({"role":"r"})", 500, Message("member 7 takes no v2 entries")}});
  served_.member.v2_status = absl::DeadlineExceededError("etcdserver: request timed out");
  Play({{"PUT", "/roles/r", R"({"role":"r"})", 500, Message("Internal Server Error")}});
  served_.member.v2_status = absl::OkStatus();
  served_.member.confirm_at_once = false;
  Play({{"PUT", "/users/u", R"({"user":"u","password":"p"})", 201, "{\"user\":\"u\",\"roles\":null}\n"}});
  served_.member.read_status = absl::UnavailableError("etcdserver: no leader");
  Play({{"PUT", "/users/v", R"({"user":"v","password":"p"})", 500, Message("Internal Server Error")}});
}

TEST_F(V2Access, HugeBodiesAreRefused) {
  const Response response = Ask("PUT", "/v2/auth/roles/r", std::string(2 << 20, 'x'));
  EXPECT_EQ(response.status, 413);
  EXPECT_EQ(response.body, Message("request body too large"));
}

TEST_F(V2Access, OnlyRootAdministers) {
  Play({{"PUT", "/users/u", R"({"user":"u","password":"pw","roles":["r"]})", 200,
         "{\"user\":\"u\",\"roles\":[\"r\"]}\n"}});
  EnableAuth();
  for (const char* credentials : {"", "u:pw", "root:wrong", "nobody:rootpw", "root", ":"}) {
    for (const char* path : {"/v2/auth/users", "/v2/auth/roles/root", "/v2/auth/roles"}) {
      EXPECT_EQ(Ask("GET", path, "", credentials).status, 401) << credentials << path;
    }
  }
  EXPECT_EQ(Ask("GET", "/v2/auth/users", "", "root:rootpw").status, 200);
  EXPECT_EQ(Ask("POST", "/v2/members").status, 401);
  EXPECT_EQ(Ask("GET", "/v2/members").status, 200);
  EXPECT_EQ(Ask("GET", "/v2/auth/enable").status, 200);
  // Another user with the role is as good.
  EXPECT_EQ(Ask("PUT", "/v2/auth/users/u", R"({"user":"u","grant":["root"]})", "root:rootpw").status, 200);
  EXPECT_EQ(Ask("GET", "/v2/auth/users/root", "", "u:pw").status, 200);
}

TEST_F(V2Access, CredentialsHaveToBeBasic) {
  EnableAuth();
  const std::string good = absl::Base64Escape("root:rootpw");
  const std::string bad[] = {"Basic " + good + "=",     "Basic  " + good,
                             "Bearer " + good,          "Basic",
                             "Basic " + good.substr(1), "Basic " + absl::Base64Escape("rootrootpw"),
                             "Basic !" + good.substr(1)};
  for (const std::string& header : bad) {
    EXPECT_EQ(served_.Ask("GET", "/v2/auth/users", "Authorization: " + header + "\r\n").status, 401)
        << header;
  }
  EXPECT_EQ(served_.Ask("GET", "/v2/auth/users", "Authorization: bASIC " + good + "\r\n").status, 200);
}

TEST_F(V2Access, GuestsMayDoWhatTheirRoleSays) {
  EnableAuth();
  EXPECT_EQ(Key("PUT", "/k"), 201);
  EXPECT_EQ(Key("GET", "/k"), 200);
  EXPECT_EQ(Key("GET", "/?recursive=true"), 200);
  EXPECT_EQ(Key("GET", ""), 401);  // the empty key is not under "/*"
  const std::string root = "root:rootpw";
  EXPECT_EQ(
      Ask("PUT", "/v2/auth/roles/guest", R"({"role":"guest","revoke":{"kv":{"write":["/*"]}}})", root).status,
      200);
  EXPECT_EQ(Key("PUT", "/k"), 401);
  EXPECT_EQ(Key("GET", "/k"), 200);
  EXPECT_EQ(Ask("DELETE", "/v2/auth/roles/guest", "", root).status, 200);
  EXPECT_EQ(Key("GET", "/k"), 401);
  EXPECT_EQ(Key("GET", "/k", root), 200);
}

TEST_F(V2Access, UsersMayDoWhatOneOfTheirRolesSays) {
  Play({{"PUT", "/roles/dir", R"({"role":"dir","permissions":{"kv":{"read":["/d/*"],"write":["/d/*"]}}})",
         201, "{\"role\":\"dir\",\"permissions\":{\"kv\":{\"read\":[\"/d/*\"],\"write\":[\"/d/*\"]}}}\n"},
        {"PUT", "/roles/one", R"({"role":"one","permissions":{"kv":{"read":["/x"]}}})", 201,
         "{\"role\":\"one\",\"permissions\":{\"kv\":{\"read\":[\"/x\"],\"write\":null}}}\n"},
        {"PUT", "/users/u", R"({"user":"u","password":"pw","roles":["gone","dir","one"]})", 200,
         "{\"user\":\"u\",\"roles\":[\"gone\",\"dir\",\"one\"]}\n"}});
  EnableAuth();
  EXPECT_EQ(Key("PUT", "/d/k", "u:pw"), 201);
  EXPECT_EQ(Key("GET", "/d/k", "u:pw"), 200);
  EXPECT_EQ(Key("GET", "/d/?recursive=true", "u:pw"), 200);
  EXPECT_EQ(Key("GET", "/d?recursive=true", "u:pw"), 401);
  EXPECT_EQ(Key("POST", "/d/", "u:pw"), 201);
  EXPECT_EQ(Key("GET", "/x", "u:pw"), 404);
  EXPECT_EQ(Key("GET", "/x?recursive=true", "u:pw"), 401);
  EXPECT_EQ(Key("PUT", "/x", "u:pw"), 401);
  // What guests may do is no consolation.
  EXPECT_EQ(Key("GET", "/y", "u:pw"), 401);
  EXPECT_EQ(Key("GET", "/y"), 404);
  EXPECT_EQ(Key("GET", "/d/k", "u:wrong"), 401);
  const Response denied = Ask("GET", "/v2/keys/y", "", "u:pw");
  EXPECT_THAT(denied.body, HasSubstr("\"errorCode\":110"));
  EXPECT_EQ(denied.Header("x-etcd-index"), "0");
}

TEST_F(V2Access, AFloodOfWrongPasswordsIsRefusedAndLeavesOthersAlone) {
  EnableAuth();
  EXPECT_EQ(Ask("GET", "/v2/auth/users", "", "root:rootpw").status, 200);  // remembered from now on
  absl::Notification released;
  served_.HoldPasswords(&released);
  std::atomic<int> busy{0};
  std::atomic<int> denied{0};
  std::vector<std::thread> flood;
  for (int i = 0; i < 20; ++i) {
    flood.emplace_back([&, i] {
      const Response response =
          Ask("GET", i % 2 == 0 ? "/v2/auth/users" : "/v2/keys/k", "", fmt::format("root:wrong{}", i));
      if (response.status == 503 && response.body.find(kBusyText) != std::string::npos) ++busy;
      if (response.status == 401) ++denied;
    });
  }
  while (busy < 12) std::this_thread::yield();
  EXPECT_EQ(Ask("GET", "/v2/auth/users", "", "root:rootpw").status, 200);
  released.Notify();
  for (std::thread& client : flood) client.join();
  EXPECT_EQ(busy, 12);
  EXPECT_EQ(denied, 8);
}

TEST_F(V2Access, ANewPasswordCountsAtOnce) {
  EnableAuth();
  EXPECT_EQ(Ask("GET", "/v2/auth/users", "", "root:rootpw").status, 200);
  EXPECT_EQ(Ask("PUT", "/v2/auth/users/root", R"({"user":"root","password":"other"})", "root:rootpw").status,
            200);
  EXPECT_EQ(Ask("GET", "/v2/auth/users", "", "root:rootpw").status, 401);
  EXPECT_EQ(Ask("GET", "/v2/auth/users", "", "root:other").status, 200);
}

TEST_F(V2Access, ARecoveredSnapshotCountsAtOnce) {
  EnableAuth();
  EXPECT_EQ(Key("GET", "/"), 200);
  v2store::Store other(&SystemClock());
  ASSERT_TRUE(served_.member.v2_store().Recover(other.SaveView()->ToJson()).ok());
  EXPECT_EQ(Key("GET", ""), 200);
  EXPECT_EQ(Ask("GET", "/v2/auth/enable").body, "{\"enabled\":false}\n");
}

}  // namespace
}  // namespace kvorum::api_v2
