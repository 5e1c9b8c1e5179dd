#include "grpc/server.h"

#include <set>
#include <unordered_map>

#include "base/check.h"
#include "fmt/format.h"
#include "grpc/call.h"
#include "grpc/metadata.h"

namespace kvorum::grpc {

const std::string_view* CallInfo::Find(std::string_view name) const {
  for (const auto& [key, value] : metadata) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::optional<std::string> CallInfo::FindBinary(std::string_view name) const {
  const std::string_view* value = Find(name);
  if (value == nullptr) return std::nullopt;
  return DecodeBase64(*value);
}

namespace {

/// For a request that is answered before its body.
class IgnoreBody final : public http::RequestSink {
 public:
  void OnData(std::string_view) override {}
  void OnEnd() override {}
  void OnAbort() override {}
};

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

bool IsGrpcType(std::string_view type) {
  constexpr std::string_view kType = "application/grpc";
  if (!type.starts_with(kType)) return false;
  type.remove_prefix(kType.size());
  return type.empty() || type[0] == '+' || type[0] == ';';
}

}  // namespace

class Server::Impl {
 public:
  explicit Impl(ServerOptions options) : options_(std::move(options)) {}

  struct Method {
    MethodKind kind;
    UnaryMethod unary;
    StreamMethod stream;
  };

  void Add(std::string path, Method method) {
    const size_t slash = path.rfind('/');
    KVORUM_CHECK(path.starts_with('/') && slash > 0, "a method called {}", path);
    services_.insert(path.substr(1, slash - 1));
    const bool added = methods_.emplace(std::move(path), std::move(method)).second;
    KVORUM_CHECK(added, "a method was added twice");
  }

  bool Has(std::string_view path) const { return methods_.find(path) != methods_.end(); }
  std::vector<std::string> services() const { return {services_.begin(), services_.end()}; }

  std::unique_ptr<http::RequestSink> Start(const http::Request& request, http::ResponseWriter& writer) {
    const MonotonicTime began = writer.loop().clock().Now();
    CallInfo info;
    info.method = request.path;
    info.remote = request.remote;
    info.request = request.shared_from_this();
    std::string_view encoding;
    if (absl::Status status = ReadHeaders(request, began, &info, &encoding); !status.ok()) {
      return Refuse(writer, status);
    }
    const auto found = methods_.find(request.path);
    if (found == methods_.end()) return Refuse(writer, UnknownMethod(request.path));
    const Method& method = found->second;
    if (options_.admit) {
      if (absl::Status status = options_.admit(info, method.kind); !status.ok()) {
        auto sink = Refuse(writer, status);
        if (options_.finished) {
          options_.finished({.info = info,
                             .kind = method.kind,
                             .code = status.code(),
                             .duration = writer.loop().clock().Now() - began,
                             .messages_received = 0,
                             .messages_sent = 0,
                             .bytes_received = 0,
                             .bytes_sent = 0});
        }
        return sink;
      }
    }
    if (method.kind == MethodKind::kUnary) {
      return StartUnaryCall(options_, method.unary, std::move(info), encoding, writer, began);
    }
    return StartStreamCall(options_, method.kind, method.stream, std::move(info), encoding, writer, began);
  }

 private:
  static std::unique_ptr<http::RequestSink> Refuse(http::ResponseWriter& writer, const absl::Status& status) {
    http::Headers head{{"content-type", "application/grpc"}};
    for (auto& trailer : StatusTrailers(status)) head.push_back(std::move(trailer));
    writer.SendOnlyHead(200, head);
    return std::make_unique<IgnoreBody>();
  }

  static absl::Status ReadHeaders(const http::Request& request, MonotonicTime now, CallInfo* info,
                                  std::string_view* encoding) {
    info->metadata.reserve(request.headers.size());
    for (const auto& header : request.headers) {
      const auto& [name, value] = header;
      if (!IsReserved(name)) {
        info->metadata.push_back(header);
      } else if (name == "grpc-timeout") {
        const auto timeout = ParseTimeout(value);
        if (!timeout) return absl::InternalError(fmt::format("malformed grpc-timeout: \"{}\"", value));
        // Beyond any clock's range is no deadline.
        if (*timeout < MonotonicTime::max() - now) info->deadline = now + *timeout;
      } else if (name == "grpc-encoding") {
        *encoding = value;
      } else if (name == "content-type" && !IsGrpcType(value)) {
        return absl::InvalidArgumentError(fmt::format("invalid gRPC request content-type \"{}\"", value));
      }
    }
    if (request.method != "POST") {
      return absl::InternalError(
          fmt::format("Received a HEADERS frame with :method \"{}\" which should be POST", request.method));
    }
    return absl::OkStatus();
  }

  absl::Status UnknownMethod(std::string_view path) const {
    const size_t slash = path.rfind('/');
    if (!path.starts_with('/') || slash == 0) {
      return absl::UnimplementedError(fmt::format("malformed method name: \"{}\"", path));
    }
    const std::string service(path.substr(1, slash - 1));
    if (services_.contains(service)) {
      return absl::UnimplementedError(
          fmt::format("unknown method {} for service {}", path.substr(slash + 1), service));
    }
    return absl::UnimplementedError(fmt::format("unknown service {}", service));
  }

  const ServerOptions options_;
  std::unordered_map<std::string, Method, TextHash, std::equal_to<>> methods_;
  std::set<std::string> services_;
};

Server::Server(ServerOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}

Server::~Server() = default;

void Server::AddUnary(std::string method, UnaryMethod implementation) {
  impl_->Add(std::move(method), {MethodKind::kUnary, std::move(implementation), nullptr});
}

void Server::AddStream(std::string method, MethodKind kind, StreamMethod implementation) {
  KVORUM_CHECK(kind != MethodKind::kUnary, "{} is unary", method);
  impl_->Add(std::move(method), {kind, nullptr, std::move(implementation)});
}

bool Server::Has(std::string_view path) const { return impl_->Has(path); }

std::vector<std::string> Server::services() const { return impl_->services(); }

std::unique_ptr<http::RequestSink> Server::Start(const http::Request& request, http::ResponseWriter& writer) {
  return impl_->Start(request, writer);
}

}  // namespace kvorum::grpc
