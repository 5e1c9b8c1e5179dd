#include "v2store/request.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "base/wire.h"

namespace kvorum::v2store {
namespace {

using namespace std::string_literals;

TEST(V2RequestTest, WritesWhatEtcdAlwaysWrites) {
  const RequestView put{.id = 1, .method = "PUT", .path = "/1/f", .value = "v"};
  const std::string head = "\x08\x01\x12\x03PUT\x1a\x04/1/f\x22\x01v"s;
  const std::string tail =
      "\x28\x00\x32\x00\x38\x00\x48\x00\x50\x00\x58\x00\x60\x00\x68\x00\x70\x00\x78\x00\x80\x01\x00"s;
  EXPECT_EQ(Encode(put).view(), head + tail);
  EXPECT_EQ(ParseRequest(head + tail), put);
}

TEST(V2RequestTest, WritesFieldsOfThreeStatesWhereTheyAreSet) {
  EXPECT_NE(Encode({.prev_exist = false}).view().find("\x38\x00\x40\x00\x48\x00"s), std::string::npos);
  EXPECT_TRUE(Encode({.refresh = true}).view().ends_with("\x80\x01\x00\x88\x01\x01"s));
}

TEST(V2RequestTest, WritesATimeBeforeTheEpochInTenBytes) {
  EXPECT_NE(Encode({.expiration = -1}).view().find("\x48\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x50"s),
            std::string::npos);
}

TEST(V2RequestTest, TakesWhatLacksFieldsAndWhatHasMore) {
  EXPECT_EQ(ParseRequest("\x12\x03PUT"s), (RequestView{.method = "PUT"}));
  std::string more = "\x12\x04SYNC\x78\x07"s;
  wire::AppendBytes(more, 100, "new");
  EXPECT_EQ(ParseRequest(more), (RequestView{.method = "SYNC", .time = 7}));
}

TEST(V2RequestTest, RefusesWhatIsNone) {
  EXPECT_EQ(ParseRequest(""), std::nullopt);
  EXPECT_EQ(ParseRequest("\x12\x05PUT"s), std::nullopt);          // cut off
  EXPECT_EQ(ParseRequest("\x12\x03PUT\x18\x01"s), std::nullopt);  // a number for a path
  EXPECT_EQ(ParseRequest("\x12\x03PUT\x2a\x01\x01"s), std::nullopt);
  EXPECT_EQ(ParseRequest("\x1a\x04/1/f"s), std::nullopt);  // no method
}

TEST(V2RequestTest, RefusesRequestsOfVersion3) {
  // InternalRaftRequest{ID: 1, put: {key: "k", value: "v"}, header: {}}.
  EXPECT_EQ(ParseRequest("\x08\x01\x22\x06\x0a\x01k\x12\x01v\xa2\x06\x00"s), std::nullopt);
  // InternalRaftRequest{v2: …}, where field 2 has a message.
  std::string wrapped;
  wire::AppendBytes(wrapped, 2, Encode({.method = "PUT"}).view());
  EXPECT_EQ(ParseRequest(wrapped), std::nullopt);
}

RC_GTEST_PROP(V2RequestPropertyTest, ReadsWhatItWrote, ()) {
  Request request;
  request.id = *rc::gen::arbitrary<uint64_t>();
  request.method = *rc::gen::element<std::string>("POST", "PUT", "DELETE", "QGET", "SYNC");
  request.path = *rc::gen::arbitrary<std::string>();
  request.value = *rc::gen::arbitrary<std::string>();
  request.prev_value = *rc::gen::arbitrary<std::string>();
  request.prev_index = *rc::gen::arbitrary<uint64_t>();
  request.expiration = *rc::gen::arbitrary<int64_t>();
  request.time = *rc::gen::arbitrary<int64_t>();
  request.since = *rc::gen::arbitrary<uint64_t>();
  for (bool* flag :
       {&request.dir, &request.wait, &request.recursive, &request.sorted, &request.quorum, &request.stream}) {
    *flag = *rc::gen::arbitrary<bool>();
  }
  if (*rc::gen::arbitrary<bool>()) request.prev_exist = *rc::gen::arbitrary<bool>();
  if (*rc::gen::arbitrary<bool>()) request.refresh = *rc::gen::arbitrary<bool>();
  const Bytes written = Encode(request);
  RC_ASSERT(ParseRequest(written.view()) == RequestView(request));
}

}  // namespace
}  // namespace kvorum::v2store
