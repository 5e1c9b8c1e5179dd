#pragma once

#include <string_view>

#include "robustness/scene.h"

namespace kvorum::robustness {

/// A client of the key-value API: one request after another, each to some member, and what became of it.
class KvClient {
 public:
  KvClient(uint64_t id, Scene* scene);

  void Start();
  /// No new request is begun.
  void Stop() { stopped_ = true; }
  bool idle() const { return !waiting_; }

 private:
  void Next();
  template <typename Response, typename Request>
  bool Send(std::string_view method, const Request& request, Endpoint& endpoint);
  void Finish();

  const uint64_t id_;
  Scene* const scene_;
  sim::Requests requests_;
  bool stopped_ = false;
  bool waiting_ = false;
};

/// Notes what a request came to.
void NoteOutcome(Scene* scene, size_t operation, absl::StatusOr<sim::Operation::Response> answer);

/// What `status` says.
inline std::string_view MessageOf(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

}  // namespace kvorum::robustness
