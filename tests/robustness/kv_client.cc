#include "robustness/kv_client.h"

namespace kvorum::robustness {

namespace {

using sim::Operation;

/// How long a client waits for an answer.
constexpr Instant kMinPatience = 500 * kMillisecond;
constexpr Instant kMaxPatience = 5 * kSecond;

}  // namespace

KvClient::KvClient(uint64_t id, Scene* scene)
    : id_(id), scene_(scene), requests_(id, &scene->workload(), &scene->chance()) {}

void KvClient::Start() { Finish(); }

void KvClient::Finish() {
  waiting_ = false;
  if (stopped_) return;
  scene_->After(scene_->Between(0, 2 * scene_->workload().think), [this] { Next(); });
}

template <typename Response, typename Request>
bool KvClient::Send(std::string_view method, const Request& request, Endpoint& endpoint) {
  const size_t at = scene_->history().operations.size();
  return endpoint.Call<Response>(method, request, scene_->Between(kMinPatience, kMaxPatience),
                                 [this, at](absl::StatusOr<Response> response) {
                                   if (response.ok()) {
                                     NoteOutcome(scene_, at, *std::move(response));
                                   } else {
                                     NoteOutcome(scene_, at, response.status());
                                   }
                                   Finish();
                                 });
}

void KvClient::Next() {
  if (stopped_) return;
  Operation::Request request = requests_.Next(scene_->ledger().last());
  Endpoint& endpoint = scene_->Any();
  struct Sender {
    KvClient* self;
    Endpoint& endpoint;
    bool operator()(const etcdserverpb::RangeRequest& r) {
      return self->Send<etcdserverpb::RangeResponse>("/etcdserverpb.KV/Range", r, endpoint);
    }
    bool operator()(const etcdserverpb::PutRequest& r) {
      return self->Send<etcdserverpb::PutResponse>("/etcdserverpb.KV/Put", r, endpoint);
    }
    bool operator()(const etcdserverpb::DeleteRangeRequest& r) {
      return self->Send<etcdserverpb::DeleteRangeResponse>("/etcdserverpb.KV/DeleteRange", r, endpoint);
    }
    bool operator()(const etcdserverpb::TxnRequest& r) {
      return self->Send<etcdserverpb::TxnResponse>("/etcdserverpb.KV/Txn", r, endpoint);
    }
    bool operator()(const etcdserverpb::CompactionRequest& r) {
      return self->Send<etcdserverpb::CompactionResponse>("/etcdserverpb.KV/Compact", r, endpoint);
    }
  };
  const Instant invoked = scene_->now();
  if (!std::visit(Sender{.self = this, .endpoint = endpoint}, request)) return Finish();
  waiting_ = true;
  Operation& operation = scene_->history().operations.emplace_back();
  operation.client = id_;
  operation.member = endpoint.id();
  operation.invoked = invoked;
  operation.request = std::move(request);
}

void NoteOutcome(Scene* scene, size_t at, absl::StatusOr<Operation::Response> answer) {
  Operation& operation = scene->history().operations[at];
  if (answer.ok()) {
    operation.outcome = Operation::Outcome::kAnswered;
    operation.response = *std::move(answer);
    operation.returned = scene->now();
    return;
  }
  operation.error = std::string(MessageOf(answer.status()));
  if (!sim::NeverHappened(operation.error)) return;
  operation.outcome = Operation::Outcome::kRefused;
  operation.returned = scene->now();
}

}  // namespace kvorum::robustness
