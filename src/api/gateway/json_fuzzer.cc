// JSON requests of the gateway, in pieces: whatever comes out of the splitter and becomes a message can be
// written as JSON again.

#include <cstdint>

#include "api/gateway/transcoder.h"
#include "base/check.h"
#include "proto/rpc.pb.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using kvorum::api_gateway::JsonSplitter;
  if (size < 2) return 0;
  static const google::protobuf::Descriptor* const types[] = {
      etcdserverpb::RangeRequest::descriptor(), etcdserverpb::TxnRequest::descriptor(),
      etcdserverpb::WatchRequest::descriptor(), etcdserverpb::LeaseGrantRequest::descriptor()};
  const auto& type = *types[data[0] % 4];
  const size_t piece = data[1] + 1u;
  std::string_view rest(reinterpret_cast<const char*>(data + 2), size - 2);
  JsonSplitter splitter(1 << 16);
  while (!rest.empty()) {
    splitter.Feed(rest.substr(0, piece));
    rest.remove_prefix(std::min(piece, rest.size()));
    while (true) {
      const auto object = splitter.Next();
      if (!object.ok()) return 0;
      if (!object->has_value()) break;
      const auto message = kvorum::api_gateway::JsonToMessage(type, **object);
      if (!message.ok()) continue;
      KVORUM_CHECK(kvorum::api_gateway::MessageToJson(type, *message).ok());
    }
  }
  return 0;
}
