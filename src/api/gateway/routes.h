#pragma once

#include <string_view>

#include "google/protobuf/descriptor.h"

namespace kvorum::api_gateway {

/// One path of the gateway and the method behind it.
struct Route {
  std::string_view path;    ///< "/v3/kv/range"
  std::string_view method;  ///< "/etcdserverpb.KV/Range"
  const google::protobuf::Descriptor* request = nullptr;
  const google::protobuf::Descriptor* response = nullptr;
  bool client_streams = false;
  bool server_streams = false;
};

/// Null for a path that is none of the gateway's (reference: v3-api.md §1). Lives for the whole process.
const Route* FindRoute(std::string_view path);

}  // namespace kvorum::api_gateway
