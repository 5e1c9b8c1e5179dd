#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "peer/hub.h"

namespace kvorum::peer {

/// Asks a peer every 4 s whether it is there, for the round-trip time and the difference of the clocks
/// (reference: peer-protocol.md §3.8). On the transport's loop only; shared between its peer and the probe
/// under way.
class Prober final : public std::enable_shared_from_this<Prober> {
 public:
  /// `urls` lives until `Stop`.
  Prober(Hub* hub, raft::NodeId remote, UrlPicker* urls);

  void Start();
  void Stop();

 private:
  void ProbeLater();
  void Probe();
  void OnResponse(MonotonicTime asked, absl::StatusOr<http::ClientResponse> response);

  Hub* const hub_;
  const raft::NodeId remote_;
  UrlPicker* const urls_;
  bool stopped_ = false;
  Executor::TimerId timer_ = 0;
};

/// The body of a probe's answer.
std::string ProbeBody(WallTime now);
/// The time that such a body says, with any zone; nothing where it says none.
std::optional<WallTime> ParseProbeBody(std::string_view body);

}  // namespace kvorum::peer
