#include "v2store/listing.h"

#include <gtest/gtest.h>

#include "v2store/testing.h"

namespace kvorum::v2store {
namespace {

class V2Listing : public testing::Test {
 protected:
  /// The pieces put together, each begun in a string of its own.
  std::string InPieces(std::string_view path, bool recursive, size_t limit) {
    uint64_t index = 0;
    auto listing = std::get<Listing>(store_.List(path, recursive, &index));
    std::string all;
    while (!listing.done()) {
      std::string piece;
      listing.Append(&piece, limit);
      EXPECT_FALSE(piece.empty());
      EXPECT_LT(piece.size(), 6 * std::max<size_t>(limit, 4096) + 1000);
      all += piece;
    }
    return all;
  }
  std::string Whole(std::string_view path, bool recursive) {
    return Shown(store_.Get(path, recursive, true)) + "\n";
  }

  StandingClock clock_;
  Store store_{&clock_};
};

TEST_F(V2Listing, IsTheSameHoweverItIsCut) {
  std::string value;
  for (int i = 0; i < 3000; ++i)
    value += "a\xc3\xa4\xe2\x80\xa8\xf0\x9f\x98\x80<\n\x80\x80\x80\x80\x80\xe2\x80";
  for (int i = 0; i < 200; ++i) {
    store_.Set(fmt::format("/1/d/{}/file", i), false,
               i % 50 == 0 ? value.substr(static_cast<size_t>(i)) : "v", std::nullopt);
    store_.Set(fmt::format("/1/d/{}/_hidden", i), false, "v", std::nullopt);
    store_.Set(fmt::format("/1/e/{}", i), true, "", std::nullopt);
  }
  for (const char* path :
       {"/", "/1", "/1/d", "/1/d/7", "/1/d/0/file", "/1/d/7/file", "/1/d/7/_hidden", "/1/e"}) {
    for (const bool recursive : {false, true}) {
      for (const size_t limit : {1, 100, 4097, 70'000, 100'000'000}) {
        EXPECT_EQ(InPieces(path, recursive, limit), Whole(path, recursive)) << path << " by " << limit;
      }
    }
  }
}

TEST_F(V2Listing, IsOfOneMoment) {
  for (int i = 0; i < 300; ++i) store_.Set(fmt::format("/1/d/{}", i), false, "then", std::nullopt);
  const std::string then = Whole("/1/d", true);
  uint64_t index = 0;
  auto listing = std::get<Listing>(store_.List("/1/d", true, &index));
  EXPECT_EQ(index, store_.index());
  std::string all;
  for (int i = 0; !listing.done(); ++i) {
    listing.Append(&all, 100);
    store_.Set(fmt::format("/1/d/{}", 300 - i), false, "later", std::nullopt);
    store_.Delete(fmt::format("/1/d/{}", 150 + i), false, false);
  }
  EXPECT_EQ(all, then);
}

}  // namespace
}  // namespace kvorum::v2store
