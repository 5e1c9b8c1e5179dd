#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/handler.h"

namespace kvorum::api_admin {

/// A sink for requests whose body does not matter. Answers may come later, in tasks of the connection's loop:
/// those hold `alive()` and look whether it is still true.
class Exchange final : public http::RequestSink {
 public:
  Exchange() : alive_(std::make_shared<bool>(true)) {}
  ~Exchange() override { *alive_ = false; }

  const std::shared_ptr<bool>& alive() const { return alive_; }

  void OnData(std::string_view) override {}
  void OnEnd() override {}
  void OnAbort() override { *alive_ = false; }

 private:
  std::shared_ptr<bool> alive_;  // shared with the tasks that answer
};

/// Go's http.Error: as ResponseWriter::ReplyError, with the one method that is allowed.
void ReplyMethodNotAllowed(http::ResponseWriter& writer, std::string_view allowed);
/// "404 page not found".
void ReplyNotFound(http::ResponseWriter& writer);
/// `{"message":"…"}`
void ReplyJsonError(http::ResponseWriter& writer, int status, std::string_view message);

/// The parameters of a query, in order, decoded as Go's url.ParseQuery does; malformed pairs are left out.
std::vector<std::pair<std::string, std::string>> ParseQuery(std::string_view query);

/// `text` as a JSON string, with its quotes.
std::string JsonString(std::string_view text);

}  // namespace kvorum::api_admin
