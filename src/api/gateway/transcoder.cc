#include "api/gateway/transcoder.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/check.h"
#include "boost/json/serialize.hpp"
#include "boost/json/string.hpp"
#include "fmt/format.h"
#include "google/protobuf/message.h"
#include "google/protobuf/util/json_util.h"

namespace kvorum::api_gateway {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::unique_ptr<google::protobuf::Message> New(const google::protobuf::Descriptor& type) {
  const auto* prototype = google::protobuf::MessageFactory::generated_factory()->GetPrototype(&type);
  KVORUM_CHECK(prototype != nullptr, "{} is no generated class", type.full_name());
  return std::unique_ptr<google::protobuf::Message>(prototype->New());
}

}  // namespace

absl::StatusOr<std::string> JsonToMessage(const google::protobuf::Descriptor& type, std::string_view json) {
  const std::unique_ptr<google::protobuf::Message> message = New(type);
  if (json.empty()) return std::string();
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  const auto status =
      google::protobuf::util::JsonStringToMessage({json.data(), json.size()}, message.get(), options);
  if (!status.ok()) return absl::InvalidArgumentError(std::string(status.message()));
  return message->SerializeAsString();
}

absl::StatusOr<std::string> MessageToJson(const google::protobuf::Descriptor& type,
                                          std::string_view message) {
  const std::unique_ptr<google::protobuf::Message> parsed = New(type);
  if (!parsed->ParseFromArray(message.data(), static_cast<int>(message.size()))) {
    return absl::InternalError(fmt::format("a response that is no {}", type.full_name()));
  }
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(*parsed, &json, options);
  if (!status.ok()) return absl::InternalError(std::string(status.message()));
  return json;
}

absl::StatusOr<std::optional<std::string>> JsonSplitter::Next() {
  const std::optional<std::string> none;
  if (depth_ == 0) {
    while (begin_ < buffer_.size() && IsSpace(buffer_[begin_])) ++begin_;
    if (begin_ == buffer_.size()) {
      Compact();
      return none;
    }
    if (buffer_[begin_] != '{') {
      return absl::InvalidArgumentError(
          fmt::format("invalid character '{}' looking for beginning of value", buffer_[begin_]));
    }
    scanned_ = begin_;
  }
  const absl::Status too_large = absl::ResourceExhaustedError(
      fmt::format("grpc: received message larger than max ({} vs. {})", buffer_.size() - begin_, max_bytes_));
  while (scanned_ < buffer_.size()) {
    const char c = buffer_[scanned_++];
    if (in_string_) {
      in_string_ = escaped_ || c != '"';
      escaped_ = !escaped_ && c == '\\';
    } else if (c == '"') {
      in_string_ = true;
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if ((c == '}' || c == ']') && --depth_ == 0) {
      if (scanned_ - begin_ > max_bytes_) return too_large;
      std::string object = buffer_.substr(begin_, scanned_ - begin_);
      begin_ = scanned_;
      return std::optional<std::string>(std::move(object));
    }
  }
  if (scanned_ - begin_ > max_bytes_) return too_large;
  Compact();
  return none;
}

void JsonSplitter::Compact() {
  buffer_.erase(0, begin_);
  scanned_ -= std::min(scanned_, begin_);
  begin_ = 0;
}

bool JsonSplitter::mid_object() const {
  for (size_t i = begin_; i < buffer_.size(); ++i) {
    if (!IsSpace(buffer_[i])) return true;
  }
  return false;
}

std::string ErrorJson(const absl::Status& status) {
  return fmt::format(
      "{{\"code\":{},\"message\":{}}}", static_cast<int>(status.code()),
      boost::json::serialize(boost::json::string(status.message().data(), status.message().size())));
}

int HttpStatusOf(absl::StatusCode code) {
  using enum absl::StatusCode;
  switch (code) {
    case kOk:
      return 200;
    case kCancelled:
      return 499;
    case kInvalidArgument:
    case kFailedPrecondition:
    case kOutOfRange:
      return 400;
    case kDeadlineExceeded:
      return 504;
    case kNotFound:
      return 404;
    case kAlreadyExists:
    case kAborted:
      return 409;
    case kPermissionDenied:
      return 403;
    case kUnauthenticated:
      return 401;
    case kResourceExhausted:
      return 429;
    case kUnimplemented:
      return 501;
    case kUnavailable:
      return 503;
    default:
      return 500;
  }
}

}  // namespace kvorum::api_gateway
