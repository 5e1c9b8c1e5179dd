#include "wal/segments.h"

#include <algorithm>
#include <charconv>

#include "base/status.h"
#include "fmt/format.h"
#include "wal/wal.h"

namespace kvorum::wal {
namespace {

constexpr std::string_view kSuffix = ".wal";
constexpr size_t kNumberDigits = 16;

bool ParseHex(std::string_view digits, uint64_t* value) {
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), *value, 16);
  return error == std::errc() && end == digits.data() + digits.size();
}

}  // namespace

std::string SegmentName(uint64_t sequence, raft::Index index) {
  return fmt::format("{:016x}-{:016x}{}", sequence, index.value(), kSuffix);
}

std::optional<Segment> ParseSegmentName(std::string_view name) {
  if (name.size() != 2 * kNumberDigits + 1 + kSuffix.size() || !name.ends_with(kSuffix) ||
      name[kNumberDigits] != '-') {
    return std::nullopt;
  }
  Segment segment;
  uint64_t index = 0;
  if (!ParseHex(name.substr(0, kNumberDigits), &segment.sequence) ||
      !ParseHex(name.substr(kNumberDigits + 1, kNumberDigits), &index)) {
    return std::nullopt;
  }
  segment.index = raft::Index(index);
  segment.name = name;
  return segment;
}

std::string PathOf(const std::string& directory, std::string_view name) {
  return fmt::format("{}/{}", directory, name);
}

absl::StatusOr<std::vector<Segment>> ListSegments(Env& env, const std::string& directory, Logger& logger) {
  KVORUM_ASSIGN_OR_RETURN(const std::vector<std::string> names, env.ListDirectory(directory));
  std::vector<Segment> segments;
  for (const std::string& name : names) {
    if (std::optional<Segment> segment = ParseSegmentName(name)) {
      segments.push_back(*std::move(segment));
    } else if (!name.ends_with(".tmp") && !name.ends_with(".broken")) {
      KVORUM_LOG(logger, kWarn, "ignored file in WAL directory", {"path", name});
    }
  }
  if (segments.empty()) return absl::NotFoundError(fmt::format("wal: file not found: in {}", directory));
  return segments;
}

absl::StatusOr<std::vector<Segment>> SelectSegments(std::vector<Segment> segments, raft::Index index) {
  auto first = std::find_if(segments.rbegin(), segments.rend(),
                            [&](const Segment& segment) { return segment.index <= index; });
  if (first == segments.rend()) {
    return absl::NotFoundError(
        fmt::format("wal: file not found which matches the snapshot index '{}'", index));
  }
  segments.erase(segments.begin(), std::prev(first.base()));
  for (size_t i = 1; i < segments.size(); ++i) {
    if (segments[i].sequence != segments[i - 1].sequence + 1) {
      return absl::DataLossError(fmt::format(
          "wal: file sequence numbers (starting from {}) do not increase continuously: {} after {}",
          segments[0].sequence, segments[i].name, segments[i - 1].name));
    }
  }
  return segments;
}

bool Exists(Env& env, const std::string& directory) {
  const auto names = env.ListDirectory(directory);
  return names.ok() && std::any_of(names->begin(), names->end(), [](const std::string& name) {
           return ParseSegmentName(name).has_value();
         });
}

absl::StatusOr<std::vector<std::string>> Purge(Env& env, const std::string& directory, size_t keep) {
  std::vector<std::string> removed;
  if (keep == 0) return removed;
  KVORUM_ASSIGN_OR_RETURN(const std::vector<Segment> segments, ListSegments(env, directory, NullLogger()));
  for (size_t i = 0; i + keep < segments.size(); ++i) {
    const std::string path = PathOf(directory, segments[i].name);
    // Held until the file is gone, so that nobody begins to read it meanwhile.
    const auto lock = env.LockFile(path);
    if (absl::IsUnavailable(lock.status())) break;
    KVORUM_RETURN_IF_ERROR(lock.status());
    KVORUM_RETURN_IF_ERROR(env.RemoveFile(path));
    removed.push_back(segments[i].name);
  }
  return removed;
}

}  // namespace kvorum::wal
