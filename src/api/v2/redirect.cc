#include "api/v2/redirect.h"

#include "api/v2/path.h"

namespace kvorum::api_v2 {

void RedirectTo(std::string_view clean_path, const http::Request& request, http::ResponseWriter& writer) {
  const std::string target = RedirectTarget(clean_path, request.query);
  http::Headers headers = {{"location", LocationHeader(target)}};
  if (request.method != "GET" && request.method != "HEAD") return writer.Reply(301, std::move(headers), "");
  headers.emplace_back("content-type", "text/html; charset=utf-8");
  // HEAD has no length here: the page is made for GET alone.
  if (request.method == "HEAD") return writer.SendOnlyHead(301, headers);
  writer.Reply(301, std::move(headers), RedirectPage(target));
}

}  // namespace kvorum::api_v2
