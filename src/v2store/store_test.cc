#include "v2store/store.h"

#include <gtest/gtest.h>

#include "v2store/testing.h"

namespace kvorum::v2store {
namespace {

class V2StoreTest : public testing::Test {
 protected:
  std::string Get(std::string_view path, bool recursive = false) {
    std::string body;
    uint64_t index = 0;
    const std::optional<Error> error = store_.GetJson(path, recursive, true, &body, &index);
    const Result result = store_.Get(path, recursive, true);
    if (error) {
      EXPECT_EQ(Shown(*error), Shown(result));
      return Shown(*error);
    }
    EXPECT_EQ(body, Shown(result) + "\n");
    EXPECT_EQ(index, store_.index());
    body.pop_back();
    return body;
  }

  StandingClock clock_;
  Store store_{&clock_};
};

TEST_F(V2StoreTest, ANewOneHasItsRootsAlone) {
  EXPECT_EQ(Get("/1"), R"({"action":"get","node":{"dir":true}})");
  EXPECT_EQ(Get("/"), R"({"action":"get","node":{"key":"/","dir":true,"nodes":[{"key":"/0","dir":true},{"dir":true}]}})");
  EXPECT_EQ(store_.index(), 0u);
  EXPECT_FALSE(store_.HasUserKeys());
}

TEST_F(V2StoreTest, SetsAndReplaces) {
  EXPECT_EQ(Shown(store_.Set("/1/foo", false, "bar", {})),
            R"({"action":"set","node":{"key":"/foo","value":"bar","modifiedIndex":1,"createdIndex":1}})");
  EXPECT_EQ(Shown(store_.Set("/1/foo", false, "bar2", {})),
            R"({"action":"set","node":{"key":"/foo","value":"bar2","modifiedIndex":2,"createdIndex":2},)"
            R"("prevNode":{"key":"/foo","value":"bar","modifiedIndex":1,"createdIndex":1}})");
  EXPECT_EQ(Get("/1/foo"),
            R"({"action":"get","node":{"key":"/foo","value":"bar2","modifiedIndex":2,"createdIndex":2}})");
  EXPECT_TRUE(store_.HasUserKeys());
}

}  // namespace
}  // namespace kvorum::v2store
