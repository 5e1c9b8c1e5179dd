#include "api/v2/auth_records.h"

#include <gtest/gtest.h>

namespace kvorum::api_v2 {
namespace {

using Names = std::vector<std::string>;

template <typename Record>
std::string Json(const Record& record) {
  std::string json;
  AppendJson(json, record);
  return json;
}

template <typename T>
std::string ErrorOf(const AuthResult<T>& result) {
  const auto* error = std::get_if<AuthError>(&result);
  return error == nullptr ? "" : error->message;
}

TEST(V2AuthRecords, UsersReadAndWriteTheStoredForm) {
  constexpr std::string_view kStored = R"({"user":"a\u003cb","password":"$2a$10$x","roles":["r","s"]})";
  const std::optional<User> user = ParseUser(kStored);
  ASSERT_TRUE(user);
  EXPECT_EQ(*user, (User{.name = "a<b", .password = "$2a$10$x", .roles = Names{"r", "s"}}));
  EXPECT_EQ(Json(*user), kStored);
  EXPECT_EQ(Json(*ParseUser(R"({"user":"u","roles":null})")), R"({"user":"u","roles":null})");
  EXPECT_EQ(Json(*ParseUser(R"({"user":"u","roles":[],"grant":[]})")), R"({"user":"u","roles":[]})");
}

TEST(V2AuthRecords, RolesReadAndWriteTheStoredForm) {
  constexpr std::string_view kStored =
      R"({"role":"r","permissions":{"kv":{"read":["/a","/b*"],"write":null}}})";
  const std::optional<Role> role = ParseRole(kStored);
  ASSERT_TRUE(role);
  EXPECT_EQ(role->permissions, (Permissions{.read = Names{"/a", "/b*"}}));
  EXPECT_EQ(Json(*role), kStored);
  EXPECT_EQ(Json(*ParseRole(R"({"role":"g","grant":{}})")),
            R"({"role":"g","permissions":{"kv":{"read":null,"write":null}},)"
            R"("grant":{"kv":{"read":null,"write":null}}})");
}

TEST(V2AuthRecords, ReadAsGoDoes) {
  EXPECT_EQ(ParseUser(R"( {"USER":"u","x":{"user":1},"Password":"p"} trailing)"),
            (User{.name = "u", .password = "p"}));
  EXPECT_EQ(ParseUser("null"), User{});
  for (const char* bad : {"", "[]", "{", R"({"user":1})", R"({"roles":"r"})", R"({"roles":[1]})", "\"u\""}) {
    EXPECT_EQ(ParseUser(bad), std::nullopt) << bad;
  }
  for (const char* bad :
       {"7", R"({"permissions":[]})", R"({"permissions":{"kv":1}})", R"({"grant":{"kv":{"read":"x"}}})"}) {
    EXPECT_EQ(ParseRole(bad), std::nullopt) << bad;
  }
}

TEST(V2AuthRecords, PatternsCoverKeys) {
  const Permissions some{.read = Names{"/a", "/dir/*", ""}, .write = Names{"*"}};
  EXPECT_TRUE(some.Allows("/a", false, false));
  EXPECT_FALSE(some.Allows("/a/", false, false));
  EXPECT_FALSE(some.Allows("/a", false, /*recursive=*/true));
  EXPECT_TRUE(some.Allows("/dir/x", false, true));
  EXPECT_FALSE(some.Allows("/dir", false, false));
  EXPECT_FALSE(some.Allows("", false, false));
  EXPECT_TRUE(some.Allows("", true, true));
  EXPECT_FALSE(Permissions{}.Allows("/a", false, false));
  EXPECT_TRUE(BuiltInRole(kRoot).Allows("", true, true));
  EXPECT_FALSE(BuiltInRole(kGuest).Allows("", false, false));
  EXPECT_TRUE(BuiltInRole(kGuest).Allows("/x", false, true));
}

TEST(V2AuthRecords, UsersMerge) {
  const User old{.name = "u", .password = "h", .roles = Names{"b"}};
  const auto merged = old.Merge({.grant = Names{"c", "a"}, .revoke = Names{"b"}}, "new");
  EXPECT_EQ(std::get<User>(merged), (User{.name = "u", .password = "new", .roles = Names{"a", "c"}}));
  EXPECT_EQ(ErrorOf(old.Merge({.grant = Names{"b"}}, "")), "auth: Granting duplicate role b for user u");
  EXPECT_EQ(ErrorOf(old.Merge({.revoke = Names{"x"}}, "")), "auth: Revoking ungranted role x for user u");
  EXPECT_EQ(std::get<User>(old.Merge({}, "")), old);
  const User without{.name = "u", .password = "h"};
  EXPECT_FALSE(std::get<User>(without.Merge({}, "")) == without);  // null becomes []
}

TEST(V2AuthRecords, RootKeepsItsRole) {
  User root{.name = "root"};
  root.AttachRoot();
  root.AttachRoot();
  EXPECT_EQ(root.roles, Names{"root"});
  User other{.name = "u"};
  other.AttachRoot();
  EXPECT_FALSE(other.roles);
}

TEST(V2AuthRecords, RolesMerge) {
  const Role old{.name = "r", .permissions = {.read = Names{"/b"}}};
  Role change{.name = "r", .grant = Permissions{.read = Names{"/a"}}};
  EXPECT_EQ(Json(std::get<Role>(old.Merge(change))),
            R"({"role":"r","permissions":{"kv":{"read":["/a","/b"],"write":[]}}})");
  change.grant = Permissions{.read = Names{"/b"}};
  EXPECT_EQ(ErrorOf(old.Merge(change)), "auth: Granting duplicate read permission /b");
  change.grant = Permissions{.write = Names{"/w", "/w"}};
  EXPECT_EQ(ErrorOf(old.Merge(change)), "auth: Granting duplicate write permission /w");
  change.grant.reset();
  change.revoke = Permissions{.read = Names{"/b", "/none"}};
  EXPECT_EQ(Json(std::get<Role>(old.Merge(change))),
            R"({"role":"r","permissions":{"kv":{"read":[],"write":[]}}})");
}

TEST(V2AuthRecords, EmptyPatternsAreFound) {
  EXPECT_TRUE(ParseRole(R"({"role":"r","permissions":{"kv":{"read":[""]}}})")->HasEmptyPattern());
  EXPECT_TRUE(ParseRole(R"({"role":"r","grant":{"kv":{"write":["/a",null]}}})")->HasEmptyPattern());
  EXPECT_FALSE(ParseRole(R"({"role":"r","revoke":{"kv":{"write":[""]}}})")->HasEmptyPattern());
}

}  // namespace
}  // namespace kvorum::api_v2
