#include "proxy/grpc/lease_proxy.h"

#include "base/wire.h"
#include "proxy/grpc/forward_unary.h"
#include "proxy/grpc/keep_alive.h"
#include "proxy/grpc/stream_bridge.h"

namespace kvorum::proxy_grpc {
namespace {

constexpr uint32_t kKeysField = 5;  // of LeaseTimeToLiveResponse

/// The response with its keys as clients name them. A key outside of the namespace is no client's to see.
std::string StripKeys(const KeyPrefix& prefix, const std::string& whole_prefix, std::string_view response) {
  std::string stripped;
  stripped.reserve(response.size());
  wire::Reader reader(response);
  std::string_view before = reader.rest();
  for (wire::Field field; reader.Next(&field); before = reader.rest()) {
    if (field.number != kKeysField || field.type != wire::Type::kLength) {
      stripped.append(before.substr(0, before.size() - reader.rest().size()));
    } else if (field.bytes.starts_with(whole_prefix)) {
      wire::AppendBytes(stripped, kKeysField, prefix.Strip(field.bytes));
    }
  }
  return stripped;
}

}  // namespace

LeaseProxy::LeaseProxy(const Upstream& upstream)
    : upstream_(upstream),
      bridge_(std::make_unique<StreamBridge>(upstream, [&upstream](ClusterCalls* cluster) {
        return std::make_unique<KeepAliveCoalescer>(cluster, upstream.logger);
      })) {}

LeaseProxy::~LeaseProxy() = default;

void LeaseProxy::Register(grpc::Server* server) {
  for (const char* method : {"LeaseGrant", "LeaseRevoke", "LeaseLeases"}) {
    server->AddUnary(std::string("/etcdserverpb.Lease/") + method,
                     [upstream = upstream_](std::unique_ptr<grpc::UnaryCall> call) {
                       ForwardUnary(upstream, std::move(call), nullptr);
                     });
  }
  std::function<std::string(std::string_view)> strip;
  if (!upstream_.prefix->empty()) {
    strip = [prefix = upstream_.prefix, whole = upstream_.prefix->Key("")](std::string_view response) {
      return StripKeys(*prefix, whole, response);
    };
  }
  server->AddUnary("/etcdserverpb.Lease/LeaseTimeToLive",
                   [upstream = upstream_, strip](std::unique_ptr<grpc::UnaryCall> call) {
                     ForwardUnary(upstream, std::move(call), strip);
                   });
  bridge_->Register(server, "/etcdserverpb.Lease/LeaseKeepAlive");
}

}  // namespace kvorum::proxy_grpc
