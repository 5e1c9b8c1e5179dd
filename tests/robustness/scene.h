#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/random.h"
#include "grpc/client.h"
#include "http/loop.h"
#include "sim/history.h"
#include "sim/ledger.h"
#include "sim/workload.h"

namespace kvorum::robustness {

using sim::Instant;

inline constexpr Instant kMillisecond = 1'000'000;
inline constexpr Instant kSecond = 1'000 * kMillisecond;

class Scene;

/// A member as its clients see it: one connection, made anew whenever it breaks. On the loop only.
class Endpoint {
 public:
  /// `target` is "127.0.0.1:2379".
  Endpoint(Scene* scene, MemberId id, std::string name, std::string target);

  MemberId id() const { return id_; }
  const std::string& name() const { return name_; }
  /// Null while nobody listens there.
  grpc::ClientConnection* connection() { return connection_.get(); }
  /// `callback` runs each time there is a connection anew.
  void OnConnected(std::function<void()> callback) { on_connected_ = std::move(callback); }

  void Connect();
  /// For good: calls under way end, inside this call.
  void Close() { connection_.reset(); }

  /// One call; `done` runs once, on the loop, within `patience` and never inside this call, but it does not
  /// run after the scene's end. False where there is no connection: nothing was sent.
  template <typename Response, typename Request>
  bool Call(std::string_view method, const Request& request, Instant patience,
            absl::AnyInvocable<void(absl::StatusOr<Response>)> done) {
    return CallBytes(method, request.SerializeAsString(), patience,
                     [done = std::move(done)](const absl::Status& status, std::string_view bytes) mutable {
                       if (!status.ok()) return done(status);
                       Response response;
                       if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
                         return done(absl::DataLossError("an answer that cannot be read"));
                       }
                       done(std::move(response));
                     });
  }

 private:
  bool CallBytes(std::string_view method, std::string_view request, Instant patience,
                 grpc::ClientConnection::UnaryDone done);

  Scene* const scene_;
  const MemberId id_;
  const std::string name_;
  const std::string target_;
  std::unique_ptr<grpc::ClientConnection> connection_;
  std::function<void()> on_connected_;
};

/// What all clients of one run share: its loop, its clock, the members, and what is noted. Everything that
/// happens to it happens on the loop.
class Scene {
 public:
  Scene(http::Loop* loop, uint64_t seed, sim::Workload workload)
      : loop_(*loop), begin_(loop->clock().Now()), random_(seed), workload_(workload) {}

  void AddEndpoint(std::string name, std::string target);
  const std::vector<std::unique_ptr<Endpoint>>& endpoints() const { return endpoints_; }
  Endpoint& Any() { return *endpoints_[random_.Below(endpoints_.size())]; }

  http::Loop& loop() { return loop_; }
  MonotonicTime begin() const { return begin_; }
  /// By the system's monotonic clock, which no member reads for what clients can see.
  Instant now() const { return (loop_.clock().Now() - begin_).count(); }
  /// `task` runs on the loop once, unless the run is over by then.
  void After(Instant delay, http::Loop::Task task);
  Random& chance() { return random_; }
  Instant Between(Instant low, Instant high) {
    return low + static_cast<Instant>(random_.Below(static_cast<uint64_t>(high - low) + 1));
  }

  const sim::Workload& workload() const { return workload_; }
  sim::History& history() { return history_; }
  sim::Ledger& ledger() { return ledger_; }

  /// Nothing happens any more.
  void End();
  bool over() const { return *over_; }
  /// The same for those who may outlive the scene.
  std::shared_ptr<const bool> over_flag() const { return over_; }

 private:
  http::Loop& loop_;
  const MonotonicTime begin_;
  Random random_;
  const sim::Workload workload_;
  std::vector<std::unique_ptr<Endpoint>> endpoints_;
  sim::History history_;
  sim::Ledger ledger_;
  const std::shared_ptr<bool> over_ = std::make_shared<bool>(false);
};

}  // namespace kvorum::robustness
