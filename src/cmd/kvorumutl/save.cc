#include "cmd/kvorumutl/save.h"

#include <functional>
#include <memory>
#include <utility>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "base/wire.h"
#include "cmd/kvorumutl/output.h"
#include "cmd/kvorumutl/snapshot_file.h"
#include "fmt/format.h"
#include "grpc/client.h"
#include "http/loop.h"

namespace kvorum::utl {
namespace {

constexpr std::string_view kMethod = "/etcdserverpb.Maintenance/Snapshot";
// Fields of SnapshotResponse.
constexpr uint32_t kBlob = 3;
constexpr uint32_t kVersion = 4;

/// "host:port" of an endpoint, as a connection takes it.
absl::StatusOr<std::string> TargetOf(const std::string& endpoint) {
  const size_t scheme = endpoint.find("://");
  if (scheme == std::string::npos || endpoint.starts_with("unix://")) return endpoint;
  if (endpoint.starts_with("http://")) return endpoint.substr(scheme + 3);
  return absl::InvalidArgumentError(
      fmt::format("endpoint \"{}\": only http is spoken by this version", endpoint));
}

/// The file that the messages of one stream fill. On the connection's loop.
class Receiver {
 public:
  Receiver(std::unique_ptr<WritableFile> file) : file_(std::move(file)) {}

  void Take(std::string_view message) {
    if (!status_.ok()) return;
    wire::Reader reader(message);
    for (wire::Field field; reader.Next(&field);) {
      if (field.number == kBlob && field.type == wire::Type::kLength) {
        status_ = file_->Append(field.bytes);
        size_ += field.bytes.size();
      } else if (field.number == kVersion && field.type == wire::Type::kLength) {
        version_ = field.bytes;
      }
    }
    if (status_.ok() && !reader.ok()) status_ = absl::DataLossError("a malformed snapshot message");
  }

  absl::Status Finish() {
    KVORUM_RETURN_IF_ERROR(status_);
    KVORUM_RETURN_IF_ERROR(file_->Sync());
    return file_->Close();
  }

  uint64_t size() const { return size_; }
  const std::string& version() const { return version_; }

 private:
  const std::unique_ptr<WritableFile> file_;
  absl::Status status_;
  uint64_t size_ = 0;
  std::string version_;
};

/// One loop in a thread of its own, and a connection on it.
class Client {
 public:
  ~Client() {
    OnLoop([this] {
      stream_.reset();
      connection_.reset();
    });
    loops_.Stop();
  }

  absl::Status Connect(const std::string& target, std::chrono::nanoseconds timeout) {
    struct Outcome {
      absl::Status status;
      absl::Notification done;
    };
    const auto outcome = std::make_shared<Outcome>();  // shared with an answer that comes too late
    loop().Post([this, target, outcome] {
      grpc::ClientConnection::Connect(loop(), target, [this, outcome](auto connection) {
        if (connection.ok()) connection_ = *std::move(connection);
        outcome->status = connection.status();
        outcome->done.Notify();
      });
    });
    if (!outcome->done.WaitForNotificationWithTimeout(absl::FromChrono(timeout))) {
      return absl::DeadlineExceededError("context deadline exceeded");
    }
    return outcome->status;
  }

  absl::Status Receive(Receiver* receiver) {
    absl::Status ended;
    absl::Notification done;
    OnLoop([&] {
      stream_ = connection_->OpenStream(
          kMethod, {.on_message = [receiver](std::string_view message) { receiver->Take(message); },
                    .on_end =
                        [&](const absl::Status& status) {
                          ended = status;
                          done.Notify();
                        }});
      stream_->Send("");
      stream_->HalfClose();
    });
    done.WaitForNotification();
    return ended;
  }

 private:
  http::Loop& loop() { return loops_.at(0); }
  void OnLoop(std::function<void()> task) {
    absl::Notification done;
    loop().Post([&] {
      task();
      done.Notify();
    });
    done.WaitForNotification();
  }

  http::LoopGroup loops_{1, "client"};
  std::unique_ptr<grpc::ClientConnection> connection_;
  std::unique_ptr<grpc::ClientConnection::Stream> stream_;
};

}  // namespace

absl::StatusOr<std::string> SaveSnapshot(const SaveOptions& options, Env& env, Logger& logger) {
  KVORUM_ASSIGN_OR_RETURN(const std::string target, TargetOf(options.endpoint));
  const std::string part = options.path + ".part";
  const MonotonicTime start = SystemClock().Now();
  Client client;
  KVORUM_RETURN_IF_ERROR(client.Connect(target, options.dial_timeout));
  KVORUM_ASSIGN_OR_RETURN(auto file, env.OpenForWriting(part, Env::Create::kTruncate));
  KVORUM_LOG(logger, kInfo, "created temporary db file", {"path", part});
  Receiver receiver(std::move(file));
  KVORUM_LOG(logger, kInfo, "fetching snapshot", {"endpoint", options.endpoint});
  KVORUM_RETURN_IF_ERROR(client.Receive(&receiver));
  KVORUM_RETURN_IF_ERROR(receiver.Finish());
  KVORUM_RETURN_IF_ERROR(CheckSum(env, part, SumCheck::kRequired));
  KVORUM_LOG(logger, kInfo, "fetched snapshot", {"endpoint", options.endpoint},
             {"size", HumanBytes(receiver.size())},
             {"took", std::chrono::nanoseconds(SystemClock().Now() - start)},
             {"etcd-version", receiver.version()});
  KVORUM_RETURN_IF_ERROR(env.Rename(part, options.path));
  KVORUM_RETURN_IF_ERROR(env.SyncDirectory(ParentDirectory(options.path)));
  KVORUM_LOG(logger, kInfo, "saved", {"path", options.path});
  return receiver.version();
}

}  // namespace kvorum::utl
