#include "api/v2/keys.h"

#include <atomic>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>

#include "api/v2/form.h"
#include "api/v2/key_listing.h"
#include "api/v2/key_metrics.h"
#include "api/v2/key_reply.h"
#include "api/v2/key_request.h"
#include "api/v2/key_watch.h"
#include "api/v2/key_write.h"
#include "base/check.h"
#include "base/recycled.h"
#include "fmt/format.h"

namespace kvorum::api_v2 {
namespace {

using v2store::Error;
using v2store::ErrorCode;

constexpr std::string_view kKeysPath = "/v2/keys";
constexpr std::string_view kClientsRoot = "/1";
constexpr std::string_view kFormType = "application/x-www-form-urlencoded";
/// An answer to a read is sent whole up to this size.
constexpr size_t kWholeReplyBytes = 64 << 10;

/// The body of an answer in the making; a thread has one at a time, and keeps the memory for the next.
class ReplyBody {
 public:
  ReplyBody() { Text().clear(); }
  ~ReplyBody() {
    if (Text().capacity() > 2 * kWholeReplyBytes) Text() = std::string();
  }
  ReplyBody(const ReplyBody&) = delete;
  ReplyBody& operator=(const ReplyBody&) = delete;

  std::string& operator*() { return Text(); }

 private:
  static std::string& Text() {
    thread_local std::string text;
    return text;
  }
};

/// What the requests for keys share. Thread-safe.
struct KeyService {
  KeyService(const HandlerOptions& options, AccessControl* access_control)
      : member(*options.member),
        access(*access_control),
        logger(*options.logger),
        replies(member),
        metrics(options.metrics, &member.v2_store()),
        watches(&member.v2_store(), &replies),
        desks(&member) {}

  std::unique_ptr<KeyWatch> Watch(const v2store::RequestView& request, http::ResponseWriter& writer) {
    metrics.Watch();
    auto watch = std::make_unique<KeyWatch>(&watches, &writer);
    const int failure = watch->Begin({.path = std::string(request.path),
                                      .recursive = request.recursive,
                                      .stream = request.stream,
                                      .since = request.since});
    if (failure != 0) metrics.Failed(KeyMetrics::kGet, failure);
    return watch;
  }

  member::Member& member;
  AccessControl& access;
  Logger& logger;
  const KeyReplies replies;
  KeyMetrics metrics;
  WatchOffice watches;
  WriteDesks desks;
  std::atomic<size_t> form_bytes{0};  ///< of forms that have not come whole
};

/// A request's texts as KeyRequestText has them, one behind another: short ones take no memory of their own.
class KeyTexts {
 public:
  explicit KeyTexts(const Call& call)
      : path_size_(kClientsRoot.size() + call.path.size() - kKeysPath.size()),
        query_size_(call.request.query.size()) {
    Append(kClientsRoot);
    Append(call.path.substr(kKeysPath.size()));
    Append(call.request.query);
  }

  void AppendForm(std::string_view data) { Append(data); }
  size_t form_size() const { return text_.size() - path_size_ - query_size_; }

  // What they give holds until a form is appended.
  std::string_view path() const { return {text_.data(), path_size_}; }
  std::span<char> query() { return {text_.data() + path_size_, query_size_}; }
  std::span<char> form() { return {text_.data() + path_size_ + query_size_, form_size()}; }

  void Clear() {
    text_ = Text();
    path_size_ = 0;
    query_size_ = 0;
  }

 private:
  using Text = fmt::basic_memory_buffer<char, 512>;

  void Append(std::string_view text) { text_.append(text.data(), text.data() + text.size()); }

  Text text_;
  size_t path_size_;
  size_t query_size_;
};

KeyMetrics::Method MetricOf(const KeyRequest& key) {
  return key.IsQuorumRead() ? KeyMetrics::kQuorumGet : static_cast<KeyMetrics::Method>(key.method);
}

/// A request on its way through the member: it counts itself, from when it is known to be allowed to its end.
class Execution {
 public:
  Execution(KeyService* service, KeyMetrics::Method method)
      : service_(*service), method_(method), begun_(SystemClock().Now()) {
    service_.metrics.Received(method);
  }

  MonotonicTime begun() const { return begun_; }

  /// Null: answered. Else what goes on with the answer.
  std::unique_ptr<KeyListing> Read(const KeyRequest& key, http::ResponseWriter& writer) {
    uint64_t index = 0;
    auto read = service_.member.v2_store().List(key.request.path, key.request.recursive, &index);
    if (const auto* error = std::get_if<Error>(&read)) {
      Fail(*error, writer);
      return nullptr;
    }
    if (key.request.recursive) service_.metrics.RecursiveRead();
    auto& listing = std::get<v2store::Listing>(read);
    ReplyBody body;
    listing.Append(&*body, kWholeReplyBytes);
    const KeyReplies::Position position = service_.replies.PositionNow(index);
    Succeed(SystemClock().Now());
    if (listing.done()) {
      service_.replies.Success(writer, 200, position, *body);
      return nullptr;
    }
    service_.replies.Head(writer, position);
    if (key.method == KeyMethod::kHead) {
      writer.End();
      return nullptr;
    }
    writer.Send(std::string_view(*body));
    return std::make_unique<KeyListing>(std::move(listing), &writer);
  }

  void Written(const member::Member::V2Outcome& outcome, bool with_value, MonotonicTime now,
               http::ResponseWriter& writer) {
    if (!outcome.status.ok()) return Fail(outcome.status, writer);
    if (const auto* error = std::get_if<Error>(&outcome.result)) return Fail(*error, writer);
    const v2store::Event& event = *std::get<v2store::EventPtr>(outcome.result);
    const bool removal =
        event.action == v2store::Action::kDelete || event.action == v2store::Action::kCompareAndDelete;
    ReplyBody body;
    AppendJson(*body, event, with_value || removal);
    (*body).push_back('\n');
    service_.replies.Success(
        writer, event.IsCreated() ? 201 : 200,
        {.store_index = event.store_index, .raft_index = outcome.raft_index, .raft_term = outcome.raft_term},
        *body);
    Succeed(now);
  }

  /// What is no error of the store's.
  void Fail(const absl::Status& status, http::ResponseWriter& writer) {
    const std::string_view text(status.message().data(), status.message().size());
    KVORUM_LOG(service_.logger, kWarn, "a request for v2 keys failed", {"error", text});
    Fail(Error{.code = ErrorCode::kRaftInternal, .cause = std::string(text), .index = 0}, writer);
  }

 private:
  void Fail(const Error& error, http::ResponseWriter& writer) {
    service_.metrics.Failed(method_, service_.replies.Error(writer, error));
  }
  void Succeed(MonotonicTime now) { service_.metrics.Succeeded(method_, now - begun_); }

  KeyService& service_;
  const KeyMetrics::Method method_;
  const MonotonicTime begun_;
};

/// A request that has to wait: for its form, for its password, for the member. On its connection's loop.
class KeyCall final : public http::RequestSink, public WriteDesk::Writer, public Recycled<KeyCall> {
 public:
  KeyCall(KeyService* service, const Call& call, KeyMethod method)
      : service_(*service), request_(call.request), writer_(call.writer), texts_(call), method_(method) {}
  ~KeyCall() override {
    Release();
    Forget();
  }

  /// Waits for a form, unless the body is none that is read.
  void ReadForm() {
    const std::string_view* type = request_.Find("content-type");
    if (type == nullptr || type->empty()) return Parse();
    if (*type != kFormType) {  // as it usually is
      MediaType media_type = ParseMediaType(*type);
      body_error_ = std::move(media_type.error);
      if (media_type.type != kFormType) return Parse();
    }
    collecting_ = true;
  }

  void OnData(std::string_view data) override {
    if (!collecting_) return;
    if (data.size() > kMaxFormBytes - texts_.form_size()) {
      return RefuseForm(ErrorCode::kInvalidForm, "http: POST too large");
    }
    if (!Hold(data.size())) return RefuseForm(ErrorCode::kRaftInternal, "etcdserver: too many requests");
    texts_.AppendForm(data);
  }

  void OnEnd() override {
    if (!std::exchange(collecting_, false)) return;
    Parse();
  }

  void OnAbort() override {
    collecting_ = false;
    ticket_.reset();
    Forget();
    if (rest_ != nullptr) rest_->OnAbort();
  }
  void OnWritable() override {
    if (rest_ != nullptr) rest_->OnWritable();
  }
  void OnDrain() override {
    if (rest_ != nullptr) rest_->OnDrain();
  }

  void Parse() {
    auto parsed = ParseKeyRequest({.method = method_,
                                   .path = texts_.path(),
                                   .query = texts_.query(),
                                   .body_error = body_error_,
                                   .form = texts_.form(),
                                   .now = SystemClock().WallNow()});
    if (const auto* error = std::get_if<Error>(&parsed)) {
      service_.replies.Error(writer_, *error);
      return;
    }
    Begin(std::get<KeyRequest>(parsed));
  }

 private:
  void Begin(const KeyRequest& key) {
    if (!service_.access.enabled()) return Execute(key);
    const bool write = key.IsWrite();
    const bool recursive = key.request.recursive;
    const std::string_view asked = texts_.path().substr(kClientsRoot.size());
    ticket_ =
        service_.access.CheckKey(request_, writer_, asked, write, recursive, [this, key](Verdict verdict) {
          if (verdict == Verdict::kAllowed) return Execute(key);
          Refuse(verdict);
        });
  }

  void Refuse(Verdict verdict) {
    DropTexts();
    if (verdict == Verdict::kBusy) return writer_.ReplyError(503, kBusyText);
    service_.replies.Error(writer_,
                           {.code = ErrorCode::kUnauthorized, .cause = std::string(kDeniedText), .index = 0});
  }

  void Execute(const KeyRequest& key) {
    if (key.IsWatch()) {
      rest_ = service_.Watch(key.request, writer_);
      return;
    }
    execution_.emplace(&service_, MetricOf(key));
    if (key.IsQuorumRead()) return ReadConfirmed(key);
    if (key.IsWrite()) return Propose(key);
    rest_ = execution_->Read(key, writer_);
  }

  void ReadConfirmed(const KeyRequest& key) {
    auto shared = std::make_shared<KeyRequest>(key);
    absl::AnyInvocable<void(absl::Status)> done = [&loop = writer_.loop(), alive = Alive(),
                                                   shared](absl::Status status) {
      loop.Post([alive, shared, status = std::move(status)] {
        if (*alive != nullptr) (*alive)->Confirmed(status, *shared);
      });
    };
    if (service_.member.ConfirmRead(Deadline(), &done)) rest_ = execution_->Read(*shared, writer_);
  }

  void Confirmed(const absl::Status& status, const KeyRequest& key) {
    if (!status.ok()) return execution_->Fail(status, writer_);
    rest_ = execution_->Read(key, writer_);
  }

  void Propose(const KeyRequest& key) {
    with_value_ = !key.no_value_on_success;
    write_ = service_.desks.Of(writer_.loop())->Propose(key.request, Deadline(), this);
    DropTexts();
  }

  void OnWritten(const WriteDesk::Outcome& outcome, MonotonicTime now) override {
    execution_->Written(outcome, with_value_, now, writer_);
  }

  MonotonicTime Deadline() const { return execution_->begun() + service_.member.options().request_timeout(); }

  /// Nothing of the member comes back to this any more.
  void Forget() {
    if (alive_ != nullptr) *alive_ = nullptr;
    if (write_ != nullptr) write_->Forget();
  }

  /// Points to this as long as it waits for the member.
  std::shared_ptr<KeyCall*> Alive() {
    alive_ = std::make_shared<KeyCall*>(this);
    return alive_;
  }

  /// Accounts for bytes of the form. False: this connection's or all connections' forms are too much.
  bool Hold(size_t bytes) {
    if (!writer_.Keep(static_cast<ptrdiff_t>(bytes))) return false;
    kept_ += bytes;
    const size_t all = service_.form_bytes.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    return all <= service_.member.options().max_pending_bytes;
  }
  void DropTexts() {
    texts_.Clear();
    Release();
  }
  void Release() {
    if (kept_ == 0) return;
    writer_.Keep(-static_cast<ptrdiff_t>(kept_));
    service_.form_bytes.fetch_sub(std::exchange(kept_, 0), std::memory_order_relaxed);
  }

  void RefuseForm(ErrorCode code, std::string_view cause) {
    collecting_ = false;
    DropTexts();
    service_.replies.Error(writer_, {.code = code, .cause = std::string(cause), .index = 0});
  }

  KeyService& service_;
  const http::Request& request_;
  http::ResponseWriter& writer_;
  KeyTexts texts_;  // empty once proposed or refused
  const KeyMethod method_;
  std::string body_error_;
  size_t kept_ = 0;
  bool collecting_ = false;
  bool with_value_ = true;
  std::unique_ptr<AccessControl::Ticket> ticket_;
  std::optional<Execution> execution_;
  std::unique_ptr<http::RequestSink> rest_;  // of the answer, which takes its time
  std::shared_ptr<KeyCall*> alive_;          // shared with the answer to a quorum read
  std::shared_ptr<WriteDesk::Write> write_;  // under way
};

class KeysEndpoint final : public Endpoint {
 public:
  KeysEndpoint(const HandlerOptions& options, AccessControl* access) : service_(options, access) {}

  std::unique_ptr<http::RequestSink> Start(const Call& call) override {
    KeyMethod method;
    if (!ParseKeyMethod(call.request.method, &method)) {
      ReplyMethodNotAllowed(call.writer, kKeyMethods);
      return IgnoreBody();
    }
    if (method == KeyMethod::kPut || method == KeyMethod::kPost) {
      auto sink = std::make_unique<KeyCall>(&service_, call, method);
      sink->ReadForm();
      return sink;
    }
    // What does not wait needs nothing that waits.
    if (method == KeyMethod::kDelete || service_.access.enabled()) return StartCall(call, method);
    KeyTexts texts(call);
    auto parsed = ParseKeyRequest({.method = method,
                                   .path = texts.path(),
                                   .query = texts.query(),
                                   .body_error = {},
                                   .form = {},
                                   .now = SystemClock().WallNow()});
    if (const auto* error = std::get_if<Error>(&parsed)) {
      service_.replies.Error(call.writer, *error);
      return IgnoreBody();
    }
    const auto& key = std::get<KeyRequest>(parsed);
    if (key.IsWatch()) return service_.Watch(key.request, call.writer);
    if (key.IsQuorumRead()) return StartCall(call, method);
    std::unique_ptr<http::RequestSink> rest = Execution(&service_, MetricOf(key)).Read(key, call.writer);
    return rest != nullptr ? std::move(rest) : IgnoreBody();
  }

 private:
  std::unique_ptr<http::RequestSink> StartCall(const Call& call, KeyMethod method) {
    auto sink = std::make_unique<KeyCall>(&service_, call, method);
    sink->Parse();
    return sink;
  }

  KeyService service_;
};

}  // namespace

std::unique_ptr<Endpoint> NewKeysEndpoint(const HandlerOptions& options, AccessControl* access) {
  KVORUM_CHECK(options.member != nullptr && options.metrics != nullptr && access != nullptr);
  return std::make_unique<KeysEndpoint>(options, access);
}

}  // namespace kvorum::api_v2
