#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "peer/stream_codec.h"

// What a peer sends in a stream: whatever it is, it is refused or read; fed in two pieces it says the same.

namespace kvorum::peer {
namespace {

std::vector<raft::Message> Read(StreamType type, std::string_view input, size_t cut, bool* good) {
  std::vector<raft::Message> messages;
  const auto decoder = NewStreamDecoder(type, raft::NodeId(1), raft::NodeId(2));
  const auto keep = [&](raft::Message message) { messages.push_back(std::move(message)); };
  *good = decoder->Feed(input.substr(0, cut), keep).ok() && decoder->Feed(input.substr(cut), keep).ok();
  return messages;
}

}  // namespace
}  // namespace kvorum::peer

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvorum::peer;
  if (size < 2) return 0;
  const StreamType type = data[0] % 2 == 0 ? StreamType::kMessage : StreamType::kMsgApp;
  const std::string_view input(reinterpret_cast<const char*>(data + 2), size - 2);
  bool whole_good;
  bool cut_good;
  const auto whole = Read(type, input, input.size(), &whole_good);
  const auto cut = Read(type, input, std::min<size_t>(data[1], input.size()), &cut_good);
  KVORUM_CHECK(whole == cut && whole_good == cut_good, "a cut changes what is read");
  return 0;
}
