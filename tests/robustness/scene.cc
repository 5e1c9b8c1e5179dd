#include "robustness/scene.h"

#include <iterator>

namespace kvorum::robustness {

namespace {

constexpr std::chrono::seconds kDialPatience{2};
constexpr Instant kRedial = 30 * kMillisecond;
constexpr uint32_t kWindows[] = {1 << 16, 1 << 20, 1 << 24};

}  // namespace

Endpoint::Endpoint(Scene* scene, MemberId id, std::string name, std::string target)
    : scene_(scene), id_(id), name_(std::move(name)), target_(std::move(target)) {}

void Endpoint::Connect() {
  grpc::ConnectOptions options;
  options.deadline = scene_->loop().clock().Now() + kDialPatience;
  // A member must bear with clients that take little at a time.
  options.limits.stream_window = kWindows[scene_->chance().Below(std::size(kWindows))];
  grpc::ClientConnection::Connect(
      scene_->loop(), target_, std::move(options), [this, over = scene_->over_flag()](auto connection) {
        if (*over) return;
        if (!connection.ok()) return scene_->After(kRedial, [this] { Connect(); });
        connection_ = *std::move(connection);
        connection_->OnUnusable([this] {
          if (scene_->over()) return;
          const std::unique_ptr<grpc::ClientConnection> broken = std::move(connection_);
          scene_->After(kRedial, [this] { Connect(); });
        });
        if (on_connected_) on_connected_();
      });
}

bool Endpoint::CallBytes(std::string_view method, std::string_view request, Instant patience,
                         grpc::ClientConnection::UnaryDone done) {
  if (connection_ == nullptr) return false;
  connection_->Unary(
      method, request,
      [this, done = std::move(done)](const absl::Status& status, std::string_view bytes) mutable {
        if (!scene_->over()) done(status, bytes);
      },
      {}, scene_->loop().clock().Now() + std::chrono::nanoseconds(patience));
  return true;
}

void Scene::AddEndpoint(std::string name, std::string target) {
  endpoints_.push_back(
      std::make_unique<Endpoint>(this, MemberId(endpoints_.size() + 1), std::move(name), std::move(target)));
}

void Scene::After(Instant delay, http::Loop::Task task) {
  loop_.PostAfter(std::chrono::nanoseconds(delay), [over = over_, task = std::move(task)]() mutable {
    if (!*over) task();
  });
}

void Scene::End() {
  *over_ = true;
  for (const auto& endpoint : endpoints_) endpoint->Close();
}

}  // namespace kvorum::robustness
