#include <gtest/gtest.h>

#include <map>
#include <set>

#include "absl/synchronization/mutex.h"
#include "base/random.h"
#include "grpc/client.h"
#include "http/loop.h"
#include "proto/rpc.pb.h"
#include "support/server.h"

namespace kvorum::test {
namespace {

/// Writes keys of its own, one put after another, until the connection breaks. Everything that was
/// acknowledged is remembered with its revision; what was under way may or may not be there afterwards.
class Writer {
 public:
  Writer(http::Loop& loop, std::string endpoint, int id) : loop_(loop), id_(id) {
    loop_.Post([this, endpoint = std::move(endpoint)] {
      grpc::ClientConnection::Connect(loop_, endpoint, [this](auto connection) {
        if (!connection.ok()) return Finish();
        connection_ = *std::move(connection);
        Next();
      });
    });
  }

  void WaitUntilBroken() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&broken_));
  }
  size_t acknowledged() {
    absl::MutexLock lock(&mutex_);
    return revisions_.size();
  }
  std::map<std::string, int64_t> revisions() {
    absl::MutexLock lock(&mutex_);
    return revisions_;
  }
  /// REQUIRES: broken
  void Disconnect() {
    absl::Mutex mutex;
    bool done = false;
    loop_.Post([&] {
      connection_.reset();
      absl::MutexLock lock(&mutex);
      done = true;
    });
    absl::MutexLock lock(&mutex);
    mutex.Await(absl::Condition(&done));
  }

 private:
  void Next() {
    etcdserverpb::PutRequest request;
    key_ = "writer" + std::to_string(id_) + "/" + std::to_string(count_++);
    request.set_key(key_);
    request.set_value("value of " + key_);
    connection_->Unary(
        "/etcdserverpb.KV/Put", request.SerializeAsString(),
        [this](const absl::Status& status, std::string_view response) {
          etcdserverpb::PutResponse reply;
          if (!status.ok() || !reply.ParseFromArray(response.data(), static_cast<int>(response.size()))) {
            return Finish();
          }
          {
            absl::MutexLock lock(&mutex_);
            revisions_[key_] = reply.header().revision();
          }
          Next();
        });
  }
  void Finish() {
    absl::MutexLock lock(&mutex_);
    broken_ = true;
  }

  http::Loop& loop_;
  const int id_;
  int count_ = 0;
  std::string key_;
  std::unique_ptr<grpc::ClientConnection> connection_;
  absl::Mutex mutex_;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<std::string, int64_t> revisions_ ABSL_GUARDED_BY(mutex_);
};

/// The value and modification revision of every key.
std::map<std::string, std::pair<std::string, int64_t>> ReadAll(http::Loop& loop,
                                                               const std::string& endpoint) {
  std::map<std::string, std::pair<std::string, int64_t>> found;
  absl::Mutex mutex;
  bool done = false;
  std::unique_ptr<grpc::ClientConnection> connection;
  auto finish = [&] {
    absl::MutexLock lock(&mutex);
    done = true;
  };
  loop.Post([&] {
    grpc::ClientConnection::Connect(loop, endpoint, [&](auto connected) {
      if (!connected.ok()) return finish();
      connection = *std::move(connected);
      etcdserverpb::RangeRequest request;
      request.set_key("writer");
      request.set_range_end("writes");
      connection->Unary(
          "/etcdserverpb.KV/Range", request.SerializeAsString(),
          [&](const absl::Status& status, std::string_view response) {
            etcdserverpb::RangeResponse reply;
            EXPECT_TRUE(status.ok()) << status;
            EXPECT_TRUE(reply.ParseFromArray(response.data(), static_cast<int>(response.size())));
            for (const auto& kv : reply.kvs()) found[kv.key()] = {kv.value(), kv.mod_revision()};
            loop.Post([&] {
              connection.reset();
              finish();
            });
          });
    });
  });
  absl::MutexLock lock(&mutex);
  mutex.Await(absl::Condition(&done));
  return found;
}

TEST(Kill, NothingAcknowledgedIsLost) {
  constexpr int kRounds = 8;
  constexpr int kWriters = 16;
  // Small segments of the raft log in memory and frequent snapshots, so that kills meet all of them.
  Server server(Server::Kind::kKvorum, {"--snapshot-count=500", "--snapshot-catchup-entries=100"});
  http::Loop loop("writers");
  Random random(SystemEntropy());
  std::map<std::string, int64_t> acknowledged;
  std::set<int64_t> revisions;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<std::unique_ptr<Writer>> writers;
    for (int i = 0; i < kWriters; ++i) {
      writers.push_back(std::make_unique<Writer>(loop, server.endpoint(), round * kWriters + i));
    }
    const size_t target = 500 + random.Below(3'000);
    ASSERT_TRUE(Eventually([&] {
      size_t total = 0;
      for (const auto& writer : writers) total += writer->acknowledged();
      return total >= target;
    }));
    server.Kill();
    for (const auto& writer : writers) {
      writer->WaitUntilBroken();
      for (const auto& [key, revision] : writer->revisions()) {
        acknowledged[key] = revision;
        EXPECT_TRUE(revisions.insert(revision).second) << "revision " << revision << " was given to two puts";
      }
      writer->Disconnect();
    }
    server.Start();
    const auto found = ReadAll(loop, server.endpoint());
    for (const auto& [key, revision] : acknowledged) {
      const auto it = found.find(key);
      ASSERT_NE(it, found.end()) << key << " was acknowledged at revision " << revision << " and is gone";
      EXPECT_EQ(it->second.first, "value of " + key);
      EXPECT_EQ(it->second.second, revision) << key;
    }
  }
  // The history hashes the same after one more restart.
  const std::string hash = server.Etcdctl("endpoint hashkv").out;
  server.Kill();
  server.Start();
  EXPECT_EQ(server.Etcdctl("endpoint hashkv").out, hash);
  loop.Stop();
}

}  // namespace
}  // namespace kvorum::test
