#include "api/admin/gzip.h"

#include <zlib.h>

#include "base/check.h"

namespace kvorum::api_admin {

std::string Gzip(std::string_view text) {
  constexpr int kGzipWindow = 15 + 16;  // the largest window, with a gzip header
  z_stream stream{};
  KVORUM_CHECK(deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  KVORUM_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

}  // namespace kvorum::api_admin
