#include "proxy/http/headers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kvorum::proxy_http {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

http::Request Of(http::HeaderViews headers, std::string_view remote = "10.1.2.3:41234") {
  http::Request request;
  request.remote = remote;
  request.headers = std::move(headers);
  return request;
}

TEST(ProxyHeaders, GoOnWithoutThoseOfOneConnection) {
  const http::Request request = Of({{"host", "a"},
                                    {"accept", "*/*"},
                                    {"connection", "close, X-Mine"},
                                    {"x-mine", "1"},
                                    {"keep-alive", "5"},
                                    {"proxy-authorization", "secret"},
                                    {"te", "trailers"},
                                    {"transfer-encoding", "chunked"},
                                    {"upgrade", "h2c"},
                                    {"content-length", "3"},
                                    {"expect", "100-continue"},
                                    {"authorization", "Basic x"}});
  EXPECT_THAT(ForwardedHeaders(request), ElementsAre(Pair("accept", "*/*"), Pair("authorization", "Basic x"),
                                                     Pair("x-forwarded-for", "10.1.2.3")));
}

TEST(ProxyHeaders, NameTheClientAfterThoseBeforeIt) {
  EXPECT_THAT(ForwardedHeaders(Of({{"x-forwarded-for", "1.1.1.1, 2.2.2.2"}, {"x-forwarded-for", "3.3.3.3"}})),
              ElementsAre(Pair("x-forwarded-for", "1.1.1.1, 2.2.2.2, 3.3.3.3, 10.1.2.3")));
  EXPECT_THAT(ForwardedHeaders(Of({}, "[::1]:5")), ElementsAre(Pair("x-forwarded-for", "::1")));
  EXPECT_THAT(ForwardedHeaders(Of({}, "@")), IsEmpty());
  EXPECT_THAT(ForwardedHeaders(Of({{"x-forwarded-for", "1.1.1.1"}}, "@")),
              ElementsAre(Pair("x-forwarded-for", "1.1.1.1")));
}

TEST(ProxyHeaders, ComeBackWithoutTheMembersCors) {
  EXPECT_THAT(ReturnedHeaders({{"access-control-allow-origin", "*"},
                               {"content-length", "5"},
                               {"connection", "close"},
                               {"transfer-encoding", "chunked"},
                               {"x-etcd-index", "7"}}),
              ElementsAre(Pair("content-length", "5"), Pair("x-etcd-index", "7")));
}

}  // namespace
}  // namespace kvorum::proxy_http
