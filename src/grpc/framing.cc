#include "grpc/framing.h"

#include <zlib.h>

#include "base/check.h"
#include "fmt/format.h"
#include "grpc/metadata.h"

namespace kvorum::grpc {

namespace {

/// A message up to this size leaves as one piece.
constexpr size_t kJoinBelow = 8 << 10;

constexpr int kGzipWindow = 15 + 16;  // zlib's way to say gzip

}  // namespace

size_t Payload::size() const {
  size_t size = head.size();
  for (const Bytes& piece : shared) size += piece.size();
  return size;
}

size_t ReadMessageSize(const char* prefix) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(prefix);
  return size_t{bytes[1]} << 24 | size_t{bytes[2]} << 16 | size_t{bytes[3]} << 8 | bytes[4];
}

void WritePrefix(char* out, size_t message_size) {
  out[0] = 0;
  for (int i = 0; i < 4; ++i) out[1 + i] = static_cast<char>(message_size >> (24 - 8 * i));
}

void SendMessage(http::ResponseWriter& writer, Payload message) {
  const size_t size = message.size();
  KVORUM_CHECK(size <= INT32_MAX, "a message of {} bytes", size);
  const bool join = size <= kJoinBelow;
  const size_t first = kPrefixBytes + (join ? size : message.head.size());
  writer.Send(Bytes::Build(first, [&](char* out) {
    WritePrefix(out, size);
    out += kPrefixBytes;
    std::memcpy(out, message.head.data(), message.head.size());
    if (!join) return;
    out += message.head.size();
    for (const Bytes& piece : message.shared) {
      if (!piece.empty()) std::memcpy(out, piece.data(), piece.size());
      out += piece.size();
    }
  }));
  if (join) return;
  for (Bytes& piece : message.shared) writer.Send(std::move(piece));
}

MessageReader::MessageReader(size_t max_bytes, std::string_view name) : max_bytes_(max_bytes) {
  if (name.empty() || name == "identity") {
    encoding_ = Encoding::kIdentity;
  } else if (name == "gzip") {
    encoding_ = Encoding::kGzip;
  } else {
    encoding_ = Encoding::kUnknown;
    encoding_name_ = name;
  }
}

absl::Status MessageReader::CheckPrefix(unsigned char flag, size_t size) const {
  if (flag > 1) return absl::InternalError(fmt::format("grpc: received unexpected payload format {}", flag));
  if (size > max_bytes_) {
    return absl::ResourceExhaustedError(
        fmt::format("grpc: received message larger than max ({} vs. {})", size, max_bytes_));
  }
  if (flag == 0) return absl::OkStatus();
  if (encoding_ == Encoding::kIdentity) {
    return absl::InternalError("grpc: compressed flag set with identity or empty encoding");
  }
  if (encoding_ == Encoding::kUnknown) {
    return absl::UnimplementedError(
        fmt::format("grpc: Decompressor is not installed for grpc-encoding \"{}\"", encoding_name_));
  }
  return absl::OkStatus();
}

absl::Status MessageReader::Deliver(bool compressed, std::string_view message,
                                    absl::FunctionRef<bool(std::string_view)> on_message, bool* go_on) {
  if (!compressed) {
    *go_on = on_message(message);
    return absl::OkStatus();
  }
  std::string plain;
  if (!Gunzip(message, max_bytes_, &plain)) {
    return absl::InternalError("grpc: failed to decompress the received message: gzip: invalid data");
  }
  if (plain.size() > max_bytes_) {
    return absl::ResourceExhaustedError(
        fmt::format("grpc: received message after decompression larger than max {}", max_bytes_));
  }
  *go_on = on_message(plain);
  return absl::OkStatus();
}

absl::Status MessageReader::Feed(std::string_view data,
                                 absl::FunctionRef<bool(std::string_view)> on_message) {
  bool go_on = true;
  while (go_on && !data.empty()) {
    // The usual case: the whole message is in this piece.
    if (buffer_.empty() && data.size() >= kPrefixBytes) {
      const size_t size = ReadMessageSize(data.data());
      if (absl::Status status = CheckPrefix(static_cast<unsigned char>(data[0]), size); !status.ok())
        return status;
      if (data.size() - kPrefixBytes >= size) {
        absl::Status status = Deliver(data[0] == 1, data.substr(kPrefixBytes, size), on_message, &go_on);
        if (!status.ok()) return status;
        data.remove_prefix(kPrefixBytes + size);
        continue;
      }
    }
    // Memory grows with what comes, not with what a prefix promises.
    const size_t wanted =
        buffer_.size() < kPrefixBytes ? kPrefixBytes : kPrefixBytes + ReadMessageSize(buffer_.data());
    const size_t n = std::min(data.size(), wanted - buffer_.size());
    buffer_.append(data.substr(0, n));
    data.remove_prefix(n);
    if (buffer_.size() < kPrefixBytes) return absl::OkStatus();
    const size_t size = ReadMessageSize(buffer_.data());
    if (absl::Status status = CheckPrefix(static_cast<unsigned char>(buffer_[0]), size); !status.ok())
      return status;
    if (buffer_.size() < kPrefixBytes + size) continue;
    const std::string whole = std::move(buffer_);
    buffer_ = std::string();
    absl::Status status =
        Deliver(whole[0] == 1, std::string_view(whole).substr(kPrefixBytes), on_message, &go_on);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

bool Gunzip(std::string_view compressed, size_t limit, std::string* out) {
  z_stream stream{};
  if (inflateInit2(&stream, kGzipWindow) != Z_OK) return false;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
  stream.avail_in = static_cast<uInt>(compressed.size());
  out->clear();
  int result = Z_OK;
  while (result == Z_OK && out->size() <= limit) {
    const size_t before = out->size();
    const size_t room = std::min(limit + 1 - before, std::max<size_t>(4096, before));
    out->resize(before + room);
    stream.next_out = reinterpret_cast<Bytef*>(out->data() + before);
    stream.avail_out = static_cast<uInt>(room);
    result = inflate(&stream, Z_NO_FLUSH);
    out->resize(before + room - stream.avail_out);
    if (result == Z_BUF_ERROR || (result == Z_OK && stream.avail_in == 0 && stream.avail_out > 0)) break;
  }
  inflateEnd(&stream);
  return result == Z_STREAM_END || out->size() > limit;
}

std::string Gzip(std::string_view data) {
  z_stream stream{};
  KVORUM_CHECK(
      deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY) == Z_OK,
      "out of memory");
  std::string out(deflateBound(&stream, data.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  KVORUM_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END, "deflate did not finish");
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

}  // namespace kvorum::grpc
