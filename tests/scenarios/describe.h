#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "raft/raw_node.h"

namespace kvorum::scenarios {

// How scenario files show the data of the consensus core. Source: reference raft.md §16.

std::string DescribeSoftState(const raft::SoftState& state);
std::string DescribeHardState(const raft::HardState& state);
std::string DescribeConfState(const raft::ConfState& state);
std::string DescribeSnapshot(const raft::Snapshot& snapshot);
std::string DescribeEntry(const raft::Entry& entry);
/// A line each.
std::string DescribeEntries(std::span<const raft::Entry> entries);
/// Several lines where it has several entries, a snapshot or responses; the last without a newline.
std::string DescribeMessage(const raft::Message& message, std::string_view indent = "");
/// The messages of both lists as one.
std::string DescribeReady(const raft::Ready& ready);

/// "v1 l2 r3 u4": voters and learners to add, nodes to remove and to update.
std::string DescribeChanges(std::span<const raft::ConfChangeSingle> changes);
/// The same read. Error: the text that names the word in fault.
absl::StatusOr<std::vector<raft::ConfChangeSingle>> ParseChanges(std::string_view text);

/// A string as Go writes it: "a\"b\x00".
std::string GoQuoted(std::string_view text);

}  // namespace kvorum::scenarios
