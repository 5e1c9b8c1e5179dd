// Feeds bytes to a server connection without a socket: the first byte of the input says how the rest is cut
// into portions; the protocol is told as Connection tells it, by the first bytes.
#include "http/session_driver.h"

using namespace kvorum::http;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  static Loop loop("fuzz");
  TestHandler handler;
  ServerOptions options;
  options.handler = &handler;
  options.max_header_bytes = 4 << 10;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t portion = data[0] == 0 ? input.size() : data[0];
  const bool http2 = input.starts_with("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  SessionDriver driver(loop, options, http2 ? &NewHttp2Session : &NewHttp1Session);
  while (!input.empty() && !driver.finished()) {
    driver.Feed(input.substr(0, portion));
    input.remove_prefix(std::min(portion, input.size()));
    RunOn(loop, [&] {
      if (handler.held != nullptr && input.size() % 2 == 0)
        std::exchange(handler.held, nullptr)->Reply(200, {}, "held");
    });
    driver.Pump();
    driver.Take();
  }
  driver.Advance(std::chrono::seconds(1));
  driver.FeedEnd();
  return 0;
}
