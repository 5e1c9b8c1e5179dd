#include <openssl/sha.h>

#include "api/v3/testing/test_server.h"
#include "backend/backend_format.h"
#include "bbolt/database.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "member/testing/fake_member.h"
#include "proto/rpc.pb.h"

namespace kvorum::api_v3 {
namespace {

using backend::Bucket;
using etcdserverpb::SnapshotRequest;
using etcdserverpb::SnapshotResponse;
using member::testing::FakeMember;
using testing::TestServer;

class ApiV3Snapshot : public ::testing::Test {
 protected:
  using Stream = TestServer::Stream<SnapshotRequest, SnapshotResponse>;

  std::unique_ptr<Stream> Begin() {
    auto stream = std::make_unique<Stream>(&server_, "/etcdserverpb.Maintenance/Snapshot");
    stream->Send(SnapshotRequest());
    stream->HalfClose();
    return stream;
  }

  metrics::Registry registry_;
  FakeMember member_;
  TestServer server_{{.member = &member_, .metrics = &registry_}};
};

TEST_F(ApiV3Snapshot, SendsADatabaseFileInChunksAndItsSum) {
  backend::Backend& backend = member_.backend();
  backend.BeginEntry();
  backend.Put(Bucket::kMeta, "storageVersion", Bytes::Copy("3.7.0"));
  backend.Put(Bucket::kLease, "large", Bytes::Copy(std::string(1'000'000, 'v')));
  backend.EndEntry({.index = 12, .term = 3});
  const auto stream = Begin();
  std::string file;
  SnapshotResponse message;
  for (;;) {
    message = stream->Next();
    EXPECT_FALSE(message.has_header());
    EXPECT_EQ(message.version(), "3.7.0");
    EXPECT_LE(message.blob().size(), 32u << 10);
    if (message.blob().size() == SHA256_DIGEST_LENGTH) break;
    file += message.blob();
  }
  EXPECT_TRUE(stream->End().ok());
  EXPECT_EQ(message.remaining_bytes(), 0u);
  unsigned char sum[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(file.data()), file.size(), sum);
  EXPECT_EQ(message.blob(), std::string(reinterpret_cast<const char*>(sum), sizeof sum));

  const auto database = bbolt::Database::FromBytes(file, "f");
  ASSERT_TRUE(database.ok()) << database.status();
  EXPECT_EQ((*database)->used_bytes(), file.size());
  EXPECT_EQ((*database)->Get(*(*database)->FindBucket("lease"), "large")->size(), 1'000'000u);
  EXPECT_EQ((*database)->Get(*(*database)->FindBucket("meta"), backend::kConsistentIndexKey),
            backend::BigEndian64(12).view());
}

TEST_F(ApiV3Snapshot, SaysWhatIsStillToCome) {
  member_.backend().Put(Bucket::kLease, "large", Bytes::Copy(std::string(100'000, 'v')));
  const auto stream = Begin();
  SnapshotResponse message = stream->Next();
  uint64_t remaining = message.remaining_bytes();
  EXPECT_GE(remaining + message.blob().size(), 100'000u);
  EXPECT_EQ(message.version(), "");
  while (remaining > 0) {
    message = stream->Next();
    remaining -= message.blob().size();
    EXPECT_EQ(message.remaining_bytes(), remaining);
  }
}

TEST_F(ApiV3Snapshot, EndsWithTheMembersError) {
  member_.database_status = absl::UnknownError("etcdserver: server stopped");
  EXPECT_EQ(Begin()->End(), absl::UnavailableError("etcdserver: server stopped"));
}

TEST_F(ApiV3Snapshot, AClientThatGoesAwayHoldsNothing) {
  for (int i = 0; i < 200; ++i) {
    member_.backend().Put(Bucket::kLease, std::to_string(i), Bytes::Copy(std::string(100'000, 'v')));
  }
  auto stream = Begin();
  EXPECT_FALSE(stream->Next().blob().empty());
  stream.reset();
  EXPECT_FALSE(Begin()->Next().blob().empty());
}

}  // namespace
}  // namespace kvorum::api_v3
