#include "api/v3/record_source.h"

#include <gtest/gtest.h>

#include <set>

#include "api/v3/errors.h"
#include "mvcc/record_format.h"
#include "proto/rpc.pb.h"

namespace kvorum::api_v3 {
namespace {

/// Says which records were checked, and finds one of them damaged.
class CheckingView final : public backend::ReadView {
 public:
  CheckingView(std::vector<std::string>* checked, int* open) : checked_(checked), open_(open) { ++*open_; }
  ~CheckingView() override { --*open_; }

  absl::StatusOr<std::optional<std::string_view>> Get(backend::Bucket, std::string_view) override {
    return std::nullopt;
  }
  absl::Status Check(backend::Bucket, std::string_view key, std::string_view value) override {
    EXPECT_EQ(mvcc::ParseRevisionKey(key)->revision.sub, 0);
    checked_->emplace_back(value);
    return value.find("damaged") == value.npos ? absl::OkStatus() : absl::DataLossError("checksum mismatch");
  }
  absl::Status Scan(backend::Bucket, std::string_view, std::string_view,
                    absl::FunctionRef<bool(std::string_view, std::string_view)>) override {
    return absl::OkStatus();
  }

 private:
  std::vector<std::string>* const checked_;
  int* const open_;
};

class ApiV3RecordSource : public ::testing::Test {
 protected:
  /// The records as they are stored; what begins with "safe" needs no check.
  RecordPiece Piece(const std::vector<std::string>& records, size_t count) {
    RecordPiece piece;
    piece.count = count;
    piece.found.pin = std::make_unique<CheckingView>(&checked_, &open_);
    for (const std::string& record : records) {
      piece.found.records.push_back(*texts_.insert(record).first);
      piece.found.unchecked.push_back(record.starts_with("safe") ? mvcc::Revision{} : mvcc::Revision{7, 0});
    }
    return piece;
  }

  static absl::StatusOr<std::string> Drain(RecordSource& source, size_t step) {
    std::string all;
    while (all.size() < source.size()) {
      std::string some(std::min(step, source.size() - all.size()), '?');
      if (absl::Status status = source.Fill(some.data(), some.size()); !status.ok()) return status;
      all += some;
    }
    return all;
  }

  std::set<std::string> texts_;
  std::vector<std::string> checked_;
  int open_ = 0;
};

TEST_F(ApiV3RecordSource, GivesTheSameBytesInWhateverSteps) {
  etcdserverpb::RangeResponse expected;
  std::vector<std::string> records;
  for (int i = 0; i < 5; ++i) {
    mvccpb::KeyValue* kv = expected.add_kvs();
    kv->set_key("key" + std::to_string(i));
    kv->set_value(std::string(static_cast<size_t>(i) * 100, 'v'));
    records.push_back(kv->SerializeAsString());
  }
  expected.set_count(9);
  for (const size_t step : {size_t{1}, size_t{7}, size_t{100}, size_t{100'000}}) {
    std::vector<RecordPiece> pieces;
    pieces.push_back(Piece({records[0], records[1]}, 2));
    pieces.push_back(Piece({}, 0));
    pieces.push_back(Piece({records[2], records[3], records[4], "one more than the limit"}, 3));
    RecordSource source("", std::move(pieces), "\x20\x09");
    const absl::StatusOr<std::string> all = Drain(source, step);
    ASSERT_TRUE(all.ok()) << all.status();
    etcdserverpb::RangeResponse response;
    ASSERT_TRUE(response.ParseFromString(*all));
    EXPECT_EQ(response.SerializeAsString(), expected.SerializeAsString());
  }
}

TEST_F(ApiV3RecordSource, ChecksARecordWhenItIsDueAndLetsGoOfWhatIsSent) {
  std::vector<RecordPiece> pieces;
  pieces.push_back(Piece({"a", "safe"}, 2));
  pieces.push_back(Piece({"b"}, 1));
  RecordSource source("head", std::move(pieces), "tail");
  ASSERT_EQ(source.size(), 4u + 3 + 6 + 3 + 4);
  char out[32];
  ASSERT_TRUE(source.Fill(out, 4).ok());
  EXPECT_TRUE(checked_.empty());
  ASSERT_TRUE(source.Fill(out, 9).ok());
  EXPECT_EQ(checked_, std::vector<std::string>{"a"});
  EXPECT_EQ(open_, 2);
  ASSERT_TRUE(source.Fill(out, 3).ok());
  EXPECT_EQ(checked_, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(open_, 1);
  ASSERT_TRUE(source.Fill(out, 4).ok());
  EXPECT_EQ(std::string_view(out, 4), "tail");
}

TEST_F(ApiV3RecordSource, StopsBeforeADamagedRecord) {
  std::vector<RecordPiece> pieces;
  pieces.push_back(Piece({"a", "damaged", "b"}, 3));
  RecordSource source("", std::move(pieces), "tail");
  char out[32];
  ASSERT_TRUE(source.Fill(out, 3).ok());
  EXPECT_EQ(source.Fill(out, 1), ToClientError(absl::DataLossError("checksum mismatch")));
}

}  // namespace
}  // namespace kvorum::api_v3
