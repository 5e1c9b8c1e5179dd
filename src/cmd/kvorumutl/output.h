#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kvorum::utl {

// How results are printed (reference: ctl.md §1.3).

enum class Format : uint8_t { kSimple, kFields, kJson, kProtobuf, kTable };
/// Nothing for a name that is none.
std::optional<Format> FormatFrom(std::string_view name);

/// "20 kB", "2.1 GB": powers of 1000.
std::string HumanBytes(uint64_t bytes);

/// A table with a head of upper-case names and one row, cells to the right.
std::string TableText(const std::vector<std::string>& names, const std::vector<std::string>& row);

}  // namespace kvorum::utl
