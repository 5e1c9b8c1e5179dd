#include "cmd/kvorumutl/output.h"

#include <algorithm>
#include <cmath>

#include "fmt/format.h"

namespace kvorum::utl {

std::optional<Format> FormatFrom(std::string_view name) {
  if (name == "simple") return Format::kSimple;
  if (name == "fields") return Format::kFields;
  if (name == "json") return Format::kJson;
  if (name == "protobuf") return Format::kProtobuf;
  if (name == "table") return Format::kTable;
  return std::nullopt;
}

std::string HumanBytes(uint64_t bytes) {
  if (bytes < 10) return fmt::format("{} B", bytes);
  constexpr std::string_view kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  size_t unit = 0;
  double value = static_cast<double>(bytes);
  for (; value >= 1000; value /= 1000) ++unit;
  value = std::floor(value * 10 + 0.5) / 10;
  return value < 10 ? fmt::format("{:.1f} {}", value, kUnits[unit])
                    : fmt::format("{:.0f} {}", value, kUnits[unit]);
}

std::string TableText(const std::vector<std::string>& names, const std::vector<std::string>& row) {
  std::string rule = "+";
  std::string head = "|";
  std::string body = "|";
  for (size_t i = 0; i < names.size(); ++i) {
    const size_t width = std::max(names[i].size(), row[i].size());
    rule += std::string(width + 2, '-') + "+";
    std::string name = names[i];
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c); });
    const size_t left = (width - name.size()) / 2;
    const size_t right = width - name.size() - left;
    head += " " + std::string(left, ' ') + name + std::string(right, ' ') + " |";
    body += " " + std::string(width - row[i].size(), ' ') + row[i] + " |";
  }
  return rule + "\n" + head + "\n" + rule + "\n" + body + "\n" + rule + "\n";
}

}  // namespace kvorum::utl
