#include "proxy/grpc/kv_proxy.h"

#include <cstring>

#include "grpc/metadata.h"
#include "proxy/grpc/kv_messages.h"

namespace kvorum::proxy_grpc {

namespace {

using grpc::UnaryCall;

constexpr std::string_view kRange = "/etcdserverpb.KV/Range";
constexpr std::string_view kPut = "/etcdserverpb.KV/Put";
constexpr std::string_view kDeleteRange = "/etcdserverpb.KV/DeleteRange";
constexpr std::string_view kTxn = "/etcdserverpb.KV/Txn";
constexpr std::string_view kCompact = "/etcdserverpb.KV/Compact";

/// Reads whose member went away are sent again so often at most.
constexpr int kReadAttempts = 3;
/// For each endpoint, reads that were too old.
constexpr size_t kOrderingAttempts = 5;
/// How long the newest is waited for where a member had something older.
constexpr auto kNewestTimeout = std::chrono::seconds(5);

absl::Status KeyNotProvided() { return absl::InvalidArgumentError("etcdserver: key is not provided"); }
absl::Status Compacted() {
  return absl::OutOfRangeError("etcdserver: mvcc: required revision has been compacted");
}
absl::Status Malformed() { return absl::InternalError("grpc: error unmarshalling request"); }
absl::Status NoGreaterRevision() {
  return absl::UnknownError(
      "etcdclient: no cluster members have a revision higher than the previously received revision");
}

/// The connection broke before the answer came.
bool LostConnection(const absl::Status& status) {
  const std::string_view text = grpc::Message(status);
  return absl::IsUnavailable(status) && !text.starts_with("etcdserver:") &&
         !text.starts_with("connection error:");
}

bool NoLeader(const absl::Status& status) { return status == NoLeaderError(); }

template <typename Message>
bool Parse(std::string_view bytes, Message* message) {
  return message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

void ReplyBytes(UnaryCall& call, std::string_view response) {
  call.Reply(response.size(), [&](char* out) {
    if (!response.empty()) std::memcpy(out, response.data(), response.size());
  });
}

/// Whose reply it is: of the user with that token.
std::string FormOf(const grpc::CallInfo& info, etcdserverpb::RangeRequest& request) {
  std::string form;
  for (const char* name : {"token", "authorization"}) {
    if (const std::string_view* token = info.Find(name)) form.append(*token);
    form.push_back('\0');
  }
  const bool serializable = request.serializable();
  request.set_serializable(true);
  request.AppendToString(&form);
  request.set_serializable(serializable);
  return form;
}

/// The same read of the newest.
std::string NewestRange(std::string_view request) {
  etcdserverpb::RangeRequest newest;
  Parse(request, &newest);
  newest.set_serializable(false);
  return newest.SerializeAsString();
}

void AskForNewest(etcdserverpb::TxnRequest* txn) {
  for (auto* ops : {txn->mutable_success(), txn->mutable_failure()}) {
    for (etcdserverpb::RequestOp& op : *ops) {
      if (op.has_request_range()) op.mutable_request_range()->set_serializable(false);
      if (op.has_request_txn()) AskForNewest(op.mutable_request_txn());
    }
  }
}

std::string NewestTxn(std::string_view request) {
  etcdserverpb::TxnRequest newest;
  Parse(request, &newest);
  AskForNewest(&newest);
  return newest.SerializeAsString();
}

void Raise(std::atomic<int64_t>& revision, int64_t to) {
  int64_t old = revision.load();
  while (old < to && !revision.compare_exchange_weak(old, to)) {
  }
}

}  // namespace

class KvProxy::Impl : public std::enable_shared_from_this<Impl> {
 public:
  explicit Impl(KvProxyOptions options) : options_(std::move(options)) {}

  void Range(std::unique_ptr<UnaryCall> call);
  void Put(std::unique_ptr<UnaryCall> call) {
    Write<etcdserverpb::PutRequest, etcdserverpb::PutResponse>(std::move(call), kPut,
                                                               [](const auto& request) {
                                                                 return KeyRange{request.key(), {}};
                                                               });
  }
  void DeleteRange(std::unique_ptr<UnaryCall> call) {
    Write<etcdserverpb::DeleteRangeRequest, etcdserverpb::DeleteRangeResponse>(
        std::move(call), kDeleteRange, [](const auto& request) {
          return KeyRange{request.key(), request.range_end()};
        });
  }
  void Txn(std::unique_ptr<UnaryCall> call);
  void Compact(std::unique_ptr<UnaryCall> call);

 private:
  using Done = absl::AnyInvocable<void(std::unique_ptr<UnaryCall> call, const absl::Status& status,
                                       std::string_view response)>;

  /// A write under way: what it touches is forgotten before it and behind it, however it ends.
  struct WriteGuard {
    WriteGuard(RangeCache* c, std::vector<KeyRange> r) : cache(c), ranges(std::move(r)) {
      cache->Invalidate(ranges);
    }
    ~WriteGuard() { cache->Invalidate(ranges); }
    RangeCache* const cache;
    const std::vector<KeyRange> ranges;
  };
  /// A read under way whose reply is to be kept.
  struct ReadGuard {
    ReadGuard(RangeCache* c, KeyRange range, bool at_revision)
        : cache(c), id(c->BeginRead(std::move(range), at_revision)) {}
    ~ReadGuard() {
      if (id != 0) cache->DropRead(id);
    }
    RangeCache* const cache;
    RangeCache::ReadId id;
  };
  struct Read {
    std::string_view method;
    std::string request;
    int64_t floor = 0;          ///< of the revision that the reply should have
    bool serializable = false;  ///< one member's word, which may be old
    std::string (*newest)(std::string_view request) = nullptr;  ///< the same request, for the newest
    std::string form;                                           ///< of a reply to be kept
    std::unique_ptr<ReadGuard> guard;
    int attempts = 0;
    size_t old_replies = 0;
    std::string old_reply;  ///< what there is when the newest cannot be had
    MonotonicTime deadline;
    void (*strip)(const KeyPrefix& prefix, std::string* response) = nullptr;
  };

  /// Where to send a call, and until when.
  void Send(std::unique_ptr<UnaryCall> call, std::string_view method, std::string_view request,
            MonotonicTime deadline, Done done);
  void SendRead(std::unique_ptr<UnaryCall> call, std::unique_ptr<Read> read);
  void OnRead(std::unique_ptr<UnaryCall> call, std::unique_ptr<Read> read, const absl::Status& status,
              std::string_view response);
  void OnOldReply(std::unique_ptr<UnaryCall> call, std::unique_ptr<Read> read, std::string_view response);
  void AnswerRead(UnaryCall& call, Read& read, std::string_view response, bool keep);
  template <typename Request, typename Response, typename RangeOf>
  void Write(std::unique_ptr<UnaryCall> call, std::string_view method, RangeOf range_of);
  template <typename Response>
  void SendWrite(std::unique_ptr<UnaryCall> call, std::string_view method, std::string_view request,
                 std::vector<KeyRange> ranges);

  bool has_prefix() const { return !options_.prefix->empty(); }
  static MonotonicTime DeadlineOf(const UnaryCall& call) {
    return call.info().deadline.value_or(MonotonicTime::max());
  }
  /// The same reply with keys as clients name them.
  template <typename Response>
  static void Strip(const KeyPrefix& prefix, std::string* response) {
    Response message;
    if (!Parse(*response, &message)) return;
    StripPrefix(prefix, &message);
    *response = message.SerializeAsString();
  }

  const KvProxyOptions options_;
  std::atomic<int64_t> written_{0};  // the newest revision that a write through here was acknowledged with
  std::atomic<int64_t> seen_{0};     // that any reply showed
};

void KvProxy::Impl::Send(std::unique_ptr<UnaryCall> call, std::string_view method, std::string_view request,
                         MonotonicTime deadline, Done done) {
  grpc::Channel& channel = options_.channel(call->loop());
  UnaryCall* const raw = call.get();
  const http::Headers metadata = ForwardedMetadata(raw->info().metadata);
  const auto id = channel.Unary(
      method, request, deadline,
      [&channel, call = std::move(call), done = std::move(done)](const absl::Status& status,
                                                                 std::string_view response) mutable {
        if (NoLeader(status)) channel.TryAnother();
        done(std::move(call), status, response);
      },
      metadata);
  raw->OnCancel([&channel, id] { channel.Cancel(id); });
}

void KvProxy::Impl::Range(std::unique_ptr<UnaryCall> call) {
  etcdserverpb::RangeRequest request;
  if (!Parse(call->request(), &request)) return call->Fail(Malformed());
  if (request.key().empty()) return call->Fail(KeyNotProvided());
  auto read = std::make_unique<Read>();
  read->method = kRange;
  read->serializable = request.serializable();
  read->form = FormOf(call->info(), request);
  read->deadline = DeadlineOf(*call);
  const bool at_revision = request.revision() > 0;
  if (request.serializable()) {
    if (at_revision && options_.cache->IsCompacted(request.revision())) return call->Fail(Compacted());
    if (const auto reply = options_.cache->Find(read->form, call->loop().clock().Now())) {
      return call->Reply({{}, {*reply}});
    }
  }
  if (request.serializable() || options_.cache->Contains(read->form)) {
    read->guard = std::make_unique<ReadGuard>(options_.cache, KeyRange{request.key(), request.range_end()},
                                              at_revision);
  }
  // After the read is known to the cache: a write ends by raising its revision and then telling the cache.
  read->floor = options_.serializable_ordering ? seen_.load() : written_.load();
  read->newest = &NewestRange;
  if (has_prefix()) {
    AddPrefix(*options_.prefix, &request);
    read->request = request.SerializeAsString();
    read->strip = &Strip<etcdserverpb::RangeResponse>;
  } else {
    read->request = call->request();
  }
  SendRead(std::move(call), std::move(read));
}

void KvProxy::Impl::SendRead(std::unique_ptr<UnaryCall> call, std::unique_ptr<Read> read) {
  ++read->attempts;
  const Read& sent = *read;
  Send(std::move(call), sent.method, sent.request, sent.deadline,
       [self = shared_from_this(), read = std::move(read)](std::unique_ptr<UnaryCall> answered,
                                                           const absl::Status& status,
                                                           std::string_view response) mutable {
         self->OnRead(std::move(answered), std::move(read), status, response);
       });
}

void KvProxy::Impl::OnRead(std::unique_ptr<UnaryCall> call, std::unique_ptr<Read> read,
                           const absl::Status& status, std::string_view response) {
  if (!status.ok()) {
    if (!read->old_reply.empty()) {
      return AnswerRead(*call, *read, read->old_reply, /*keep=*/false);
    }
    if (LostConnection(status) && read->attempts < kReadAttempts) {
      return SendRead(std::move(call), std::move(read));
    }
    return call->Fail(status);
  }
  const int64_t revision = HeaderRevision(response);
  if (revision < read->floor) return OnOldReply(std::move(call), std::move(read), response);
  Raise(seen_, revision);
  AnswerRead(*call, *read, response, /*keep=*/true);
}

void KvProxy::Impl::OnOldReply(std::unique_ptr<UnaryCall> call, std::unique_ptr<Read> read,
                               std::string_view response) {
  if (options_.serializable_ordering) {
    if (++read->old_replies > kOrderingAttempts * options_.endpoints) return call->Fail(NoGreaterRevision());
    options_.channel(call->loop()).TryAnother();
    return SendRead(std::move(call), std::move(read));
  }
  if (!read->serializable || !read->old_reply.empty()) {
    return AnswerRead(*call, *read, response, /*keep=*/false);
  }
  read->old_reply = response;
  read->request = read->newest(read->request);
  read->deadline = std::min(read->deadline, call->loop().clock().Now() + kNewestTimeout);
  SendRead(std::move(call), std::move(read));
}

void KvProxy::Impl::AnswerRead(UnaryCall& call, Read& read, std::string_view response, bool keep) {
  std::string stripped;
  if (read.strip != nullptr) {
    stripped = response;
    read.strip(*options_.prefix, &stripped);
    response = stripped;
  }
  if (!keep || read.guard == nullptr) return ReplyBytes(call, response);
  const Bytes reply = Bytes::Copy(response);
  options_.cache->EndRead(std::exchange(read.guard->id, 0), std::move(read.form), reply,
                          call.loop().clock().Now());
  call.Reply({{}, {reply}});
}

template <typename Request, typename Response, typename RangeOf>
void KvProxy::Impl::Write(std::unique_ptr<UnaryCall> call, std::string_view method, RangeOf range_of) {
  Request request;
  if (!Parse(call->request(), &request)) return call->Fail(Malformed());
  if (request.key().empty()) return call->Fail(KeyNotProvided());
  std::vector<KeyRange> ranges{range_of(request)};
  if (!has_prefix()) {
    const std::string_view as_it_is = call->request();
    return SendWrite<Response>(std::move(call), method, as_it_is, std::move(ranges));
  }
  AddPrefix(*options_.prefix, &request);
  SendWrite<Response>(std::move(call), method, request.SerializeAsString(), std::move(ranges));
}

template <typename Response>
void KvProxy::Impl::SendWrite(std::unique_ptr<UnaryCall> call, std::string_view method,
                              std::string_view request, std::vector<KeyRange> ranges) {
  const MonotonicTime deadline = DeadlineOf(*call);
  auto guard = std::make_unique<WriteGuard>(options_.cache, std::move(ranges));
  Send(std::move(call), method, request, deadline,
       [self = shared_from_this(), guard = std::move(guard)](std::unique_ptr<UnaryCall> answered,
                                                             const absl::Status& status,
                                                             std::string_view response) mutable {
         if (!status.ok()) {
           guard.reset();
           return answered->Fail(status);
         }
         const int64_t revision = HeaderRevision(response);
         Raise(self->written_, revision);
         Raise(self->seen_, revision);
         guard.reset();
         if (!self->has_prefix()) return ReplyBytes(*answered, response);
         std::string stripped(response);
         Strip<Response>(*self->options_.prefix, &stripped);
         ReplyBytes(*answered, stripped);
       });
}

void KvProxy::Impl::Txn(std::unique_ptr<UnaryCall> call) {
  etcdserverpb::TxnRequest request;
  if (!Parse(call->request(), &request)) return call->Fail(Malformed());
  std::vector<KeyRange> ranges = WrittenRanges(request);
  const bool serializable = IsSerializable(request);
  std::string encoded;
  if (has_prefix()) {
    if (!AddPrefix(*options_.prefix, &request)) return call->Fail(KeyNotProvided());
    encoded = request.SerializeAsString();
  } else {
    encoded = call->request();
  }
  if (!ranges.empty()) {
    return SendWrite<etcdserverpb::TxnResponse>(std::move(call), kTxn, encoded, std::move(ranges));
  }
  auto read = std::make_unique<Read>();
  read->method = kTxn;
  read->request = std::move(encoded);
  read->serializable = serializable;
  read->deadline = DeadlineOf(*call);
  read->floor = options_.serializable_ordering ? seen_.load() : written_.load();
  read->newest = &NewestTxn;
  if (has_prefix()) read->strip = &Strip<etcdserverpb::TxnResponse>;
  SendRead(std::move(call), std::move(read));
}

void KvProxy::Impl::Compact(std::unique_ptr<UnaryCall> call) {
  etcdserverpb::CompactionRequest request;
  if (!Parse(call->request(), &request)) return call->Fail(Malformed());
  const MonotonicTime deadline = DeadlineOf(*call);
  const std::string_view as_it_is = call->request();
  Send(std::move(call), kCompact, as_it_is, deadline,
       [self = shared_from_this(), revision = request.revision()](
           std::unique_ptr<UnaryCall> answered, const absl::Status& status, std::string_view response) {
         if (!status.ok()) return answered->Fail(status);
         self->options_.cache->RaiseFloor(revision);
         ReplyBytes(*answered, response);
       });
}

KvProxy::KvProxy(KvProxyOptions options) : impl_(std::make_shared<Impl>(std::move(options))) {}

KvProxy::~KvProxy() = default;

void KvProxy::Register(grpc::Server* server) {
  const auto add = [&](std::string_view method, void (Impl::*implementation)(std::unique_ptr<UnaryCall>)) {
    server->AddUnary(std::string(method), [impl = impl_, implementation](std::unique_ptr<UnaryCall> call) {
      ((*impl).*implementation)(std::move(call));
    });
  };
  add(kRange, &Impl::Range);
  add(kPut, &Impl::Put);
  add(kDeleteRange, &Impl::DeleteRange);
  add(kTxn, &Impl::Txn);
  add(kCompact, &Impl::Compact);
}

}  // namespace kvorum::proxy_grpc
