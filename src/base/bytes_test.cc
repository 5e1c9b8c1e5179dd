#include "base/bytes.h"

#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace kvorum {
namespace {

TEST(BaseBytes, NullDiffersFromEmpty) {
  const Bytes null;
  const Bytes empty = Bytes::Copy("");
  EXPECT_TRUE(null.is_null());
  EXPECT_FALSE(empty.is_null());
  EXPECT_TRUE(null.empty() && empty.empty());
  EXPECT_FALSE(null == empty);
  EXPECT_TRUE(null == Bytes());
}

TEST(BaseBytes, CopiesShareTheContent) {
  const Bytes a = Bytes::Copy("hello");
  Bytes b = a;
  EXPECT_EQ(a.data(), b.data());
  EXPECT_EQ(b.view(), "hello");
  b = Bytes::Copy("hello");
  EXPECT_NE(a.data(), b.data());
  EXPECT_TRUE(a == b);
}

TEST(BaseBytes, MoveLeavesNull) {
  Bytes a = Bytes::Copy("x");
  const Bytes b = std::move(a);
  EXPECT_TRUE(a.is_null());  // NOLINT: a moved-from string is null by contract
  EXPECT_EQ(b.view(), "x");
}

TEST(BaseBytes, SurvivesAssignmentToItself) {
  Bytes a = Bytes::Copy("self");
  const Bytes& alias = a;
  a = alias;
  EXPECT_EQ(a.view(), "self");
}

TEST(BaseBytes, IsFilledInPlace) {
  const Bytes b = Bytes::Build(3, [](char* out) {
    out[0] = 'a';
    out[1] = '\0';
    out[2] = 'c';
  });
  EXPECT_EQ(b.view(), std::string_view("a\0c", 3));
}

// Whoever drops the last copy frees it: the sanitizers watch.
TEST(BaseBytes, IsCountedAcrossThreads) {
  std::vector<std::thread> threads;
  {
    const Bytes shared = Bytes::Copy("shared");
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([copy = shared] {
        for (int j = 0; j < 1000; ++j) {
          const Bytes again = copy;
          ASSERT_EQ(again.view(), "shared");
        }
      });
    }
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace kvorum
