#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sim/history.h"

namespace kvorum::sim {

// Short texts of what a history has, for violations.

/// In quotes, with what cannot be read escaped, and the middle of a long one left out.
std::string Quote(std::string_view bytes);
/// "k"="v" create 2 mod 3 version 2 lease 7
std::string Describe(const mvccpb::KeyValue& pair);
/// put "k"="v" …, or delete "k"@5
std::string Describe(const mvccpb::Event& event);
std::string Describe(const std::vector<mvccpb::Event>& events);
/// The place in the history, client, member, times, and what was asked: "#12 (client 3, member 1, 1.002s to
/// 1.010s: put "k"="v")".
std::string Describe(const History& history, size_t operation);
/// A message of protobuf in one line, cut where it is long.
std::string Short(const google::protobuf::Message& message);
/// "1.002s", or "never"
std::string TimeText(Instant instant);

}  // namespace kvorum::sim
