#include "sim/check/describe.h"

#include "absl/strings/escaping.h"

namespace kvorum::sim {
namespace {

constexpr size_t kLongText = 40;
constexpr size_t kLongMessage = 400;

std::string RangeText(const std::string& key, const std::string& range_end) {
  return range_end.empty() ? Quote(key) : fmt::format("[{}, {})", Quote(key), Quote(range_end));
}

std::string RequestText(const etcdserverpb::RangeRequest& range) {
  std::string text =
      (range.serializable() ? "serializable range " : "range ") + RangeText(range.key(), range.range_end());
  if (range.revision() != 0) text += fmt::format(" at {}", range.revision());
  return text;
}
std::string RequestText(const etcdserverpb::PutRequest& put) {
  std::string text = fmt::format("put {}={}", Quote(put.key()), Quote(put.value()));
  if (put.lease() != 0) text += fmt::format(" lease {}", put.lease());
  return text;
}
std::string RequestText(const etcdserverpb::DeleteRangeRequest& range) {
  return "delete " + RangeText(range.key(), range.range_end());
}
std::string RequestText(const etcdserverpb::TxnRequest& txn) { return "txn {" + Short(txn) + "}"; }
std::string RequestText(const etcdserverpb::CompactionRequest& compaction) {
  return fmt::format("compact {}", compaction.revision());
}

}  // namespace

std::string Quote(std::string_view bytes) {
  const auto escaped = [](std::string_view part) {
    return absl::CHexEscape(absl::string_view(part.data(), part.size()));
  };
  if (bytes.size() <= kLongText) return "\"" + escaped(bytes) + "\"";
  return fmt::format("\"{}…{}\" ({} bytes)", escaped(bytes.substr(0, kLongText / 2)),
                     escaped(bytes.substr(bytes.size() - kLongText / 4)), bytes.size());
}

std::string Describe(const mvccpb::KeyValue& pair) {
  std::string text = fmt::format("{}={} create {} mod {} version {}", Quote(pair.key()), Quote(pair.value()),
                                 pair.create_revision(), pair.mod_revision(), pair.version());
  if (pair.lease() != 0) text += fmt::format(" lease {}", pair.lease());
  return text;
}

std::string Describe(const mvccpb::Event& event) {
  if (event.type() == mvccpb::Event::DELETE) {
    return fmt::format("delete {}@{}", Quote(event.kv().key()), event.kv().mod_revision());
  }
  return "put " + Describe(event.kv());
}

std::string Describe(const std::vector<mvccpb::Event>& events) {
  constexpr size_t kMany = 6;
  std::string text;
  for (size_t i = 0; i < events.size() && i < kMany; ++i) text += (i == 0 ? "" : ", ") + Describe(events[i]);
  if (events.size() > kMany) text += fmt::format(" and {} more", events.size() - kMany);
  return text.empty() ? "nothing" : text;
}

std::string TimeText(Instant instant) {
  return instant == kNever ? "never" : fmt::format("{:.6f}s", static_cast<double>(instant) / 1e9);
}

std::string Describe(const History& history, size_t operation) {
  const Operation& op = history.operations[operation];
  const std::string request =
      std::visit([](const auto& message) { return RequestText(message); }, op.request);
  return fmt::format("#{} (client {}, member {:x}, {} to {}: {})", operation, op.client, op.member.value(),
                     TimeText(op.invoked), TimeText(op.returned), request);
}

std::string Short(const google::protobuf::Message& message) {
  std::string text = message.ShortDebugString();
  if (text.size() > kLongMessage) text = text.substr(0, kLongMessage) + " …";
  return text.empty() ? "nothing" : text;
}

}  // namespace kvorum::sim
