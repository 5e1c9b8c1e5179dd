#include "api/admin/access.h"

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "fmt/format.h"

namespace kvorum::api_admin {
namespace {

constexpr std::string_view kMethodsHeader = "access-control-allow-methods";
constexpr std::string_view kMethods = "POST, GET, OPTIONS, PUT, DELETE";
constexpr std::string_view kOriginHeader = "access-control-allow-origin";
constexpr std::string_view kHeadersHeader = "access-control-allow-headers";
constexpr std::string_view kHeaders = "accept, content-type, authorization";

bool Lists(const std::vector<std::string>& list, std::string_view item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

/// Passes everything on, and adds the CORS headers to the head.
class CorsWriter final : public http::ResponseWriter {
 public:
  CorsWriter(http::ResponseWriter* inner, std::string origin) : inner_(*inner), origin_(std::move(origin)) {}

  http::Loop& loop() override { return inner_.loop(); }
  void SendHead(int status, const http::Headers& headers) override {
    inner_.SendHead(status, WithCors(headers));
  }
  void SendOnlyHead(int status, const http::Headers& headers) override {
    inner_.SendOnlyHead(status, WithCors(headers));
  }
  void ReplyWith(int status, std::span<const http::HeaderView> headers, std::string_view body) override {
    absl::InlinedVector<http::HeaderView, 12> all(headers.begin(), headers.end());
    all.insert(all.end(), {{kMethodsHeader, kMethods}, {kOriginHeader, origin_}, {kHeadersHeader, kHeaders}});
    inner_.ReplyWith(status, all, body);
  }
  void Send(Bytes data) override { inner_.Send(std::move(data)); }
  void End(const http::Headers& trailers) override { inner_.End(trailers); }
  void Abort(uint32_t code) override { inner_.Abort(code); }
  size_t buffered() const override { return inner_.buffered(); }
  void PauseInput() override { inner_.PauseInput(); }
  void ResumeInput() override { inner_.ResumeInput(); }
  bool Keep(ptrdiff_t bytes) override { return inner_.Keep(bytes); }

 private:
  http::Headers WithCors(const http::Headers& headers) const {
    http::Headers all = headers;
    all.emplace_back(kMethodsHeader, kMethods);
    all.emplace_back(kOriginHeader, origin_);
    all.emplace_back(kHeadersHeader, kHeaders);
    return all;
  }

  http::ResponseWriter& inner_;
  const std::string origin_;
};

/// Holds the writer that its inner sink answers through.
class CorsSink final : public http::RequestSink {
 public:
  CorsSink(http::ResponseWriter* writer, std::string origin) : writer_(writer, std::move(origin)) {}

  void Begin(http::Handler& handler, const http::Request& request) {
    inner_ = handler.Start(request, writer_);
  }
  void OnData(std::string_view data) override { inner_->OnData(data); }
  void OnEnd() override { inner_->OnEnd(); }
  void OnAbort() override { inner_->OnAbort(); }
  void OnWritable() override { inner_->OnWritable(); }
  void OnDrain() override { inner_->OnDrain(); }

 private:
  CorsWriter writer_;
  std::unique_ptr<http::RequestSink> inner_;  // last: uses the writer until it is destroyed
};

}  // namespace

AccessRules::AccessRules(std::vector<std::string> cors, std::vector<std::string> host_whitelist)
    : cors_(std::move(cors)), hosts_(std::move(host_whitelist)) {}

bool AccessRules::HostAllowed(std::string_view authority) const {
  return hosts_.empty() || Lists(hosts_, "*") || Lists(hosts_, HostOf(authority));
}

std::optional<std::string> AccessRules::AllowedOrigin(const std::string_view* origin) const {
  if (cors_.empty() || Lists(cors_, "*")) return "*";
  if (origin != nullptr && Lists(cors_, *origin)) return std::string(*origin);
  return std::nullopt;
}

std::string_view HostOf(std::string_view authority) {
  if (authority.starts_with('[')) {
    const size_t end = authority.find(']');
    if (end == std::string_view::npos) return authority;
    return authority.substr(1, end - 1);
  }
  const size_t colon = authority.find(':');
  // Two colons and no brackets: an address without a port.
  if (colon == std::string_view::npos || authority.find(':', colon + 1) != std::string_view::npos)
    return authority;
  return authority.substr(0, colon);
}

std::string UnrecognizedHostText(std::string_view host) {
  return fmt::format(
      "\nThe request came for the host \"{}\", which this server does not know as a name of its own.\n\n"
      "Either of these lets it through:\n"
      "- Serve TLS: every HTTPS request is allowed.\n"
      "- Add the name to the list of allowed ones: --host-whitelist \"{}\"\n\n"
      "The check keeps web pages from reaching this server by DNS rebinding (CVE-2018-5702).\n",
      host, host);
}

std::unique_ptr<http::RequestSink> StartWithCors(http::Handler& handler, const std::string& origin,
                                                 const http::Request& request, http::ResponseWriter& writer) {
  auto sink = std::make_unique<CorsSink>(&writer, origin);
  sink->Begin(handler, request);
  return sink;
}

}  // namespace kvorum::api_admin
