#include "config/config_file.h"

#include <yaml-cpp/yaml.h>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "config/go_text.h"

namespace kvorum::config {
namespace {

/// What a scalar is by YAML's rules; lists and maps by their structure.
enum class Shape : uint8_t { kNull, kBool, kNumber, kString, kList, kMap };

/// Plain words for the two truth values, as YAML 1.1 has them.
std::optional<bool> Truth(const std::string& word) {
  for (const char* yes : {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"}) {
    if (word == yes) return true;
  }
  for (const char* no : {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"}) {
    if (word == no) return false;
  }
  return std::nullopt;
}

bool IsNumber(const std::string& word) {
  int64_t integer = 0;
  if (ParseInt(word, &integer) != NumberError::kSyntax) return true;
  double real = 0;
  return word.find_first_of("0123456789") != std::string::npos &&
         YAML::convert<double>::decode(YAML::Node(word), real);
}

Shape ShapeOf(const YAML::Node& node) {
  if (!node.IsDefined() || node.IsNull()) return Shape::kNull;
  if (node.IsSequence()) return Shape::kList;
  if (node.IsMap()) return Shape::kMap;
  const std::string& word = node.Scalar();
  if (node.Tag() == "!") return Shape::kString;  // in quotes
  if (word.empty() || word == "~" || word == "null") return Shape::kNull;
  if (Truth(word).has_value()) return Shape::kBool;
  return IsNumber(word) ? Shape::kNumber : Shape::kString;
}

std::string_view JsonName(Shape shape) {
  switch (shape) {
    case Shape::kNull:
      return "null";
    case Shape::kBool:
      return "bool";
    case Shape::kNumber:
      return "number";
    case Shape::kString:
      return "string";
    case Shape::kList:
      return "array";
    case Shape::kMap:
      return "object";
  }
  return "value";
}

absl::Status TypeError(const Flag& flag, Kind kind, std::string_view what) {
  return absl::InvalidArgumentError(
      fmt::format("error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go struct "
                  "field configYAML.{} of type {}",
                  what, flag.file_key, GoTypeName(kind)));
}

/// The text that a flag's parser would have been given.
absl::StatusOr<std::string> TextOf(const Flag& flag, Kind kind, const YAML::Node& node) {
  const Shape shape = ShapeOf(node);
  const auto unfit = [&] { return TypeError(flag, kind, JsonName(shape)); };
  switch (kind) {
    case Kind::kBool:
      if (shape != Shape::kBool) return unfit();
      return std::string(*Truth(node.Scalar()) ? "true" : "false");
    case Kind::kUint:
    case Kind::kUint32:
    case Kind::kInt:
    case Kind::kDuration: {
      if (shape != Shape::kNumber) return unfit();
      int64_t signed_value = 0;
      uint64_t value = 0;
      const uint64_t max = kind == Kind::kUint32 ? UINT32_MAX : UINT64_MAX;
      const bool is_signed = kind == Kind::kInt || kind == Kind::kDuration;
      const bool fits = is_signed ? ParseInt(node.Scalar(), &signed_value) == NumberError::kNone
                                  : ParseUint(node.Scalar(), max, &value) == NumberError::kNone;
      if (!fits) return TypeError(flag, kind, fmt::format("number {}", node.Scalar()));
      if (kind == Kind::kDuration) return fmt::format("{}ns", signed_value);
      return is_signed ? fmt::format("{}", signed_value) : fmt::format("{}", value);
    }
    case Kind::kList: {
      if (shape == Shape::kString) return node.Scalar();
      if (shape != Shape::kList) return unfit();
      std::vector<std::string> parts;
      for (const YAML::Node& part : node) {
        if (!part.IsScalar()) return TypeError(flag, Kind::kString, JsonName(ShapeOf(part)));
        parts.push_back(part.Scalar());
      }
      return absl::StrJoin(parts, ",");
    }
    case Kind::kString:
    case Kind::kUrls:
    case Kind::kOptionalUrls:
    case Kind::kOrigins:
    case Kind::kGates:
    case Kind::kIgnored:
      if (shape != Shape::kString) return unfit();
      return node.Scalar();
  }
  return unfit();
}

/// The node at "a.b.c", undefined where there is none.
absl::StatusOr<YAML::Node> Lookup(const YAML::Node& root, std::string_view key) {
  YAML::Node node = root;
  while (true) {
    const size_t dot = key.find('.');
    const std::string head(key.substr(0, dot));
    const YAML::Node next = std::as_const(node)[head];
    if (!next.IsDefined() || next.IsNull()) return YAML::Node(YAML::NodeType::Undefined);
    if (dot == std::string_view::npos) return next;
    if (!next.IsMap()) return absl::InvalidArgumentError(fmt::format("invalid {}", head));
    node.reset(next);
    key.remove_prefix(dot + 1);
  }
}

absl::Status ReadFlag(const YAML::Node& root, const Flag& flag,
                      std::vector<std::pair<const Flag*, Value>>* out) {
  if (flag.file_key.empty()) return absl::OkStatus();
  KVORUM_ASSIGN_OR_RETURN(const YAML::Node node, Lookup(root, flag.file_key));
  if (ShapeOf(node) == Shape::kNull) return absl::OkStatus();
  const Kind kind = flag.replaced_by.empty() ? flag.kind : FindFlag(flag.replaced_by)->kind;
  KVORUM_ASSIGN_OR_RETURN(const std::string text, TextOf(flag, kind, node));
  if (text.empty()) return absl::OkStatus();
  absl::StatusOr<Value> value = ParseValue(flag, text);
  if (!value.ok()) {
    return absl::InvalidArgumentError(fmt::format("unexpected error setting up {}: {}", flag.file_key,
                                                  std::string(value.status().message())));
  }
  out->emplace_back(&flag, *std::move(value));
  return absl::OkStatus();
}

absl::StatusOr<YAML::Node> LoadYaml(const std::string& content) {
  try {
    return YAML::Load(content);
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(
        fmt::format("error converting YAML to JSON: yaml: line {}: {}", error.mark.line + 1, error.msg));
  }
}

absl::StatusOr<std::vector<std::pair<const Flag*, Value>>> ReadAll(const YAML::Node& root) {
  std::vector<std::pair<const Flag*, Value>> out;
  for (const FlagSection& section : FlagSections()) {
    for (const Flag& flag : section.flags) KVORUM_RETURN_IF_ERROR(ReadFlag(root, flag, &out));
  }
  return out;
}

}  // namespace

absl::StatusOr<std::vector<std::pair<const Flag*, Value>>> ParseConfigFile(const std::string& content) {
  KVORUM_ASSIGN_OR_RETURN(const YAML::Node root, LoadYaml(content));
  if (!root.IsDefined() || root.IsNull()) return std::vector<std::pair<const Flag*, Value>>{};
  if (!root.IsMap()) {
    return absl::InvalidArgumentError(fmt::format(
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of "
        "type embed.configYAML",
        JsonName(ShapeOf(root))));
  }
  try {
    return ReadAll(root);
  } catch (const YAML::Exception& error) {  // a node that is not what it seemed
    return absl::InvalidArgumentError(fmt::format("error converting YAML to JSON: yaml: {}", error.msg));
  }
}

}  // namespace kvorum::config
