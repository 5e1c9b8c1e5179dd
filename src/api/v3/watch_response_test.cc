#include "api/v3/watch_response.h"

#include "base/wire.h"
#include "gtest/gtest.h"
#include "proto/rpc.pb.h"
#include "rapidcheck/gtest.h"

namespace kvorum::api_v3 {
namespace {

const ResponseHeader kHeader(ClusterId(0x1234567890abcdef), MemberId(7));

etcdserverpb::WatchResponse Decode(const grpc::Payload& payload) {
  std::string bytes = payload.head;
  for (const Bytes& shared : payload.shared) bytes += shared.view();
  etcdserverpb::WatchResponse response;
  EXPECT_TRUE(response.ParseFromString(bytes));
  EXPECT_EQ(response.ByteSizeLong(), bytes.size()) << "not as the generated class writes it";
  return response;
}

/// A batch of events whose keys are 1, 2, 3 …, with `sizes` bytes of value.
mvcc::WatchBatch Batch(const std::vector<size_t>& sizes) {
  mvcc::WatchBatch batch;
  batch.watch_id = 5;
  batch.revision = 42;
  for (size_t i = 0; i < sizes.size(); ++i) {
    mvccpb::Event event;
    event.mutable_kv()->set_key(std::to_string(i + 1));
    event.mutable_kv()->set_value(std::string(sizes[i], 'x'));
    std::string field;
    wire::AppendBytes(field, 11, event.SerializeAsString());
    batch.bytes += field.size();
    batch.events.push_back(Bytes::Copy(field));
  }
  batch.event_count = sizes.size();
  return batch;
}

TEST(ApiV3WatchResponse, SharesTheEventsOfAnUncutResponse) {
  mvcc::WatchBatch batch = Batch({3, 4});
  const char* const data = batch.events[0].data();
  const grpc::Payload payload = EncodeWatchBatch(kHeader, 9, batch);
  EXPECT_EQ(payload.shared[0].data(), data);
  const etcdserverpb::WatchResponse response = Decode(payload);
  EXPECT_EQ(response.header().cluster_id(), 0x1234567890abcdefu);
  EXPECT_EQ(response.header().member_id(), 7u);
  EXPECT_EQ(response.header().revision(), 42);
  EXPECT_EQ(response.header().raft_term(), 9u);
  EXPECT_EQ(response.watch_id(), 5);
  EXPECT_EQ(response.events_size(), 2);
  EXPECT_FALSE(response.fragment());
}

TEST(ApiV3WatchResponse, WritesEveryFieldOfANotice) {
  grpc::Payload payload;
  payload.head = EncodeWatchNotice(kHeader, 3,
                                   {.revision = 8,
                                    .watch_id = -1,
                                    .created = true,
                                    .canceled = true,
                                    .compact_revision = 6,
                                    .cancel_reason = "why"});
  const etcdserverpb::WatchResponse response = Decode(payload);
  EXPECT_EQ(response.watch_id(), -1);
  EXPECT_TRUE(response.created());
  EXPECT_TRUE(response.canceled());
  EXPECT_EQ(response.compact_revision(), 6);
  EXPECT_EQ(response.cancel_reason(), "why");
  EXPECT_EQ(response.header().revision(), 8);
}

RC_GTEST_PROP(ApiV3WatchResponse, FragmentsHoldWhatFitsAndLoseNothing, ()) {
  const auto sizes =
      *rc::gen::nonEmpty(rc::gen::container<std::vector<size_t>>(rc::gen::inRange<size_t>(0, 60)));
  const auto limit = *rc::gen::inRange<size_t>(1, 300);
  const mvcc::WatchBatch batch = Batch(sizes);
  const etcdserverpb::WatchResponse whole = Decode(EncodeWatchBatch(kHeader, 1, batch));
  const auto pieces = EncodeWatchFragments(kHeader, 1, batch, limit);
  RC_ASSERT(pieces.size() == 1u || (whole.ByteSizeLong() >= limit && sizes.size() >= 2));
  int events = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const etcdserverpb::WatchResponse piece = Decode(pieces[i]);
    RC_ASSERT(piece.fragment() == (i + 1 < pieces.size()));
    RC_ASSERT(piece.events_size() >= 1);
    RC_ASSERT(piece.watch_id() == 5 && piece.header().revision() == 42);
    if (pieces.size() > 1) RC_ASSERT(piece.events_size() == 1 || piece.ByteSizeLong() < limit);
    for (const auto& event : piece.events()) RC_ASSERT(event.kv().key() == std::to_string(++events));
    // The next event would not have fitted.
    if (i + 1 < pieces.size()) {
      const etcdserverpb::WatchResponse next = Decode(pieces[i + 1]);
      const size_t with_next = piece.ByteSizeLong() + wire::VarintSize(next.events(0).ByteSizeLong()) + 1 +
                               next.events(0).ByteSizeLong();
      RC_ASSERT(with_next >= limit);
    }
  }
  RC_ASSERT(events == static_cast<int>(sizes.size()));
}

}  // namespace
}  // namespace kvorum::api_v3
