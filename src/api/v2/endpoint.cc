#include "api/v2/endpoint.h"

#include "base/go_json.h"

namespace kvorum::api_v2 {

void ReplyMethodNotAllowed(http::ResponseWriter& writer, std::string_view allow) {
  http::Headers headers = {{"content-type", "text/plain; charset=utf-8"},
                           {"x-content-type-options", "nosniff"}};
  if (!allow.empty()) headers.emplace_back("allow", allow);
  writer.Reply(405, std::move(headers), "Method Not Allowed\n");
}

void ReplyMessage(http::ResponseWriter& writer, int status, std::string_view message, http::Headers headers) {
  headers.emplace_back("content-type", "application/json");
  std::string body = "{\"message\":";
  AppendJsonString(body, message);
  body.push_back('}');
  writer.Reply(status, std::move(headers), body);
}

std::unique_ptr<http::RequestSink> IgnoreBody() {
  class Sink final : public http::RequestSink {
   public:
    void OnData(std::string_view) override {}
    void OnEnd() override {}
    void OnAbort() override {}
  };
  return std::make_unique<Sink>();
}

}  // namespace kvorum::api_v2
