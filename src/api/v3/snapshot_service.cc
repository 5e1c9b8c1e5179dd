#include <openssl/evp.h>

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "api/v3/errors.h"
#include "api/v3/stream.h"
#include "base/status.h"
#include "base/wire.h"
#include "bbolt/bbolt.h"

namespace kvorum::api_v3 {
namespace {

// Fields of SnapshotResponse.
constexpr uint32_t kRemainingBytes = 2;
constexpr uint32_t kBlob = 3;
constexpr uint32_t kVersion = 4;

constexpr size_t kChunkBytes = 32 << 10;
/// Read at a time, on the reading thread.
constexpr size_t kChunksInTurn = 8;

/// A view that can be told to fail: a walk over everything may take minutes, and nobody may want it any more.
class AbortableView final : public backend::ReadView {
 public:
  AbortableView(std::unique_ptr<ReadView> view, std::shared_ptr<std::atomic<bool>> aborted)
      : view_(std::move(view)), aborted_(std::move(aborted)) {}

  absl::StatusOr<std::optional<std::string_view>> Get(backend::Bucket bucket, std::string_view key) override {
    return view_->Get(bucket, key);
  }
  absl::Status Scan(backend::Bucket bucket, std::string_view from, std::string_view to,
                    absl::FunctionRef<bool(std::string_view, std::string_view)> visit) override {
    bool aborted = false;
    KVORUM_RETURN_IF_ERROR(view_->Scan(bucket, from, to, [&](std::string_view key, std::string_view value) {
      aborted = aborted_->load(std::memory_order_relaxed);
      return !aborted && visit(key, value);
    }));
    return aborted ? absl::CancelledError("the snapshot is not wanted any more") : absl::OkStatus();
  }

 private:
  const std::unique_ptr<ReadView> view_;
  const std::shared_ptr<std::atomic<bool>> aborted_;  // shared with the stream
};

/// The file of one snapshot and the sum over it. On the reading thread only.
class Source {
 public:
  Source(Executor* executor, std::shared_ptr<std::atomic<bool>> aborted)
      : executor_(executor), aborted_(std::move(aborted)), digest_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    EVP_DigestInit_ex(digest_.get(), EVP_sha256(), nullptr);
  }

  Executor& executor() const { return *executor_; }

  absl::Status Open(member::Member::DatabaseView database) {
    KVORUM_ASSIGN_OR_RETURN(const auto version, database.view->Get(backend::Bucket::kMeta, "storageVersion"));
    if (version) {
      std::string field;
      wire::AppendBytes(field, kVersion, *version);
      version_field_ = Bytes::Copy(field);
    }
    KVORUM_ASSIGN_OR_RETURN(
        file_, bbolt::FileStream::Create(std::make_unique<AbortableView>(std::move(database.view), aborted_),
                                         database.position));
    return absl::OkStatus();
  }

  /// The next messages; after the last there are none.
  absl::StatusOr<std::vector<grpc::Payload>> Next() {
    std::vector<grpc::Payload> messages;
    while (messages.size() < kChunksInTurn && file_ != nullptr) {
      KVORUM_ASSIGN_OR_RETURN(Bytes blob, file_->Next(kChunkBytes));
      if (!blob.empty()) {
        EVP_DigestUpdate(digest_.get(), blob.data(), blob.size());
        messages.push_back(Message(file_->left_bytes(), std::move(blob)));
        continue;
      }
      file_.reset();
      unsigned char sum[EVP_MAX_MD_SIZE];
      unsigned size = 0;
      EVP_DigestFinal_ex(digest_.get(), sum, &size);
      messages.push_back(Message(0, Bytes::Copy({reinterpret_cast<const char*>(sum), size})));
    }
    return messages;
  }

 private:
  grpc::Payload Message(uint64_t remaining_bytes, Bytes blob) const {
    grpc::Payload message;
    if (remaining_bytes != 0) wire::AppendUint(message.head, kRemainingBytes, remaining_bytes);
    wire::AppendVarint(message.head, wire::Tag(kBlob, wire::Type::kLength));
    wire::AppendVarint(message.head, blob.size());
    message.shared.push_back(std::move(blob));
    if (!version_field_.is_null()) message.shared.push_back(version_field_);
    return message;
  }

  Executor* const executor_;
  const std::shared_ptr<std::atomic<bool>> aborted_;
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> digest_;
  Bytes version_field_;                      ///< as it stands in each message; null where no version is known
  std::unique_ptr<bbolt::FileStream> file_;  ///< null at the end
};

/// One Maintenance.Snapshot. The member gives a view, a thread of its own turns it into the bytes of a file,
/// a few chunks at a time, and this sends them as fast as the client takes them:
///
///     loop:     OnMessage ─────────────────────────▶ Send, Send …, Read ──────▶ …
///     member:             ReadDatabase
///     reader:                          Open, Next ─┘              Next ─────┘
class SnapshotHandler final : public grpc::StreamHandler {
 public:
  SnapshotHandler(Core* core, MethodStats* stats, grpc::StreamWriter& writer)
      : core_(core),
        writer_(writer),
        counter_(core, stats),
        source_(std::make_shared<Source>(&core->snapshot_executor(), aborted_)),
        alive_(this),
        guard_(core, &writer, [this] { End(NoLeaderError()); }) {}
  ~SnapshotHandler() override { aborted_->store(true, std::memory_order_relaxed); }

  void OnMessage(std::string_view message) override {
    counter_.Received(message.size());
    if (begun_) return End(absl::InternalError("grpc: more than one request message"));
    begun_ = true;
    reading_ = true;
    KVORUM_LOG(core_->logger(), kInfo, "sending database snapshot to client",
               {"remote", std::string(writer_.info().remote)});
    core_->member().ReadDatabase([source = source_, &loop = writer_.loop(), handle = alive_.handle()](
                                     absl::StatusOr<member::Member::DatabaseView> database) mutable {
      Executor& executor = source->executor();
      executor.Post([source = std::move(source), &loop, handle = std::move(handle),
                     database = std::move(database)]() mutable {
        absl::Status status = database.status();
        if (status.ok()) status = source->Open(*std::move(database));
        if (!status.ok()) return Deliver(loop, handle, std::move(status));
        Deliver(loop, handle, source->Next());
      });
    });
  }
  void OnHalfClose() override {}
  void OnCancel() override { ended_ = true; }
  void OnWritable() override {
    if (begun_) Read();
  }

 private:
  using Messages = absl::StatusOr<std::vector<grpc::Payload>>;

  /// Any thread.
  static void Deliver(http::Loop& loop, std::shared_ptr<SnapshotHandler*> handle, Messages messages) {
    loop.Post([handle = std::move(handle), messages = std::move(messages)]() mutable {
      if (*handle != nullptr && !(*handle)->ended_) (*handle)->Take(std::move(messages));
    });
  }

  void Take(Messages messages) {
    reading_ = false;
    if (!messages.ok()) return End(ToClientError(messages.status()));
    if (messages->empty()) {
      KVORUM_LOG(core_->logger(), kInfo, "successfully sent database snapshot to client",
                 {"remote", std::string(writer_.info().remote)},
                 {"took", std::chrono::nanoseconds(SystemClock().Now() - start_)});
      return End(absl::OkStatus());
    }
    for (grpc::Payload& message : *messages) {
      counter_.Sent(message.size());
      writer_.Send(std::move(message));
    }
    Read();
  }

  /// Asks for the next messages where there is room for them.
  void Read() {
    if (reading_ || ended_ || writer_.buffered() >= http::ResponseWriter::kHighWater) return;
    reading_ = true;
    source_->executor().Post([source = source_, &loop = writer_.loop(), handle = alive_.handle()]() mutable {
      Deliver(loop, std::move(handle), source->Next());
    });
  }

  /// REQUIRES: the caller touches nothing of this afterwards.
  void End(const absl::Status& status) {
    ended_ = true;
    writer_.Finish(status);
  }

  Core* const core_;
  grpc::StreamWriter& writer_;
  StreamCounter counter_;
  const MonotonicTime start_ = SystemClock().Now();
  const std::shared_ptr<std::atomic<bool>> aborted_ = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<Source> source_;  // shared with the tasks that read it
  bool begun_ = false;
  bool reading_ = false;
  bool ended_ = false;
  AliveFlag<SnapshotHandler> alive_;
  LeaderGuard guard_;
};

}  // namespace

void RegisterSnapshot(Core* core, grpc::Server* server) {
  AddStream(core, server, "/etcdserverpb.Maintenance/Snapshot", grpc::MethodKind::kServerStream,
            &MakeStream<SnapshotHandler>);
}

}  // namespace kvorum::api_v3
