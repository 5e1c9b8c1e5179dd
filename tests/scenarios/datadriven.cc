#include "datadriven.h"

#include <charconv>

#include "base/status.h"
#include "fmt/format.h"

namespace kvorum::scenarios {
namespace {

constexpr std::string_view kDashes = "----";

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f'; }

/// The values of one argument, from behind the '=' of `text` at `*at`; leaves `*at` behind them.
absl::StatusOr<std::vector<std::string>> ParseValues(std::string_view text, size_t* at, size_t line) {
  if (*at >= text.size() || text[*at] != '(') {
    const size_t end = std::min(text.find(' ', *at), text.size());
    std::vector<std::string> values = {std::string(text.substr(*at, end - *at))};
    *at = end;
    return values;
  }
  std::vector<std::string> values(1);
  int depth = 1;
  for (++*at; *at < text.size(); ++*at) {
    const char c = text[*at];
    if (c == '(') ++depth;
    if (c == ')' && --depth == 0) {
      ++*at;
      return values;
    }
    if (c == ',' && depth == 1) {
      values.emplace_back();
      while (*at + 1 < text.size() && text[*at + 1] == ' ') ++*at;
    } else {
      values.back() += c;
    }
  }
  return Malformed(fmt::format("line {}: a list without its end", line));
}

class Parser {
 public:
  explicit Parser(std::string_view content) : lines_(SplitLines(content)) {}

  absl::StatusOr<std::vector<Directive>> Parse() {
    std::vector<Directive> directives;
    while (at_ < lines_.size()) {
      const size_t line = at_ + 1;
      const std::string text = TakeCommandLine();
      if (text.empty() || text[0] == '#') continue;
      KVORUM_ASSIGN_OR_RETURN(Directive directive, ParseCommand(text, line));
      if (directive.command == "subtest") continue;
      if (TakeInput(&directive)) KVORUM_RETURN_IF_ERROR(TakeExpected(&directive));
      directives.push_back(std::move(directive));
    }
    return directives;
  }

 private:
  /// A line, and those that it continues on.
  std::string TakeCommandLine() {
    std::string text(Trim(lines_[at_++]));
    if (!text.empty() && text[0] == '#') return text;
    while (!text.empty() && text.back() == '\\' && at_ < lines_.size()) {
      text.pop_back();
      text = fmt::format("{} {}", Trim(text), Trim(lines_[at_++]));
    }
    return text;
  }

  /// False where the file ends without dashes.
  bool TakeInput(Directive* directive) {
    std::string input;
    for (; at_ < lines_.size(); ++at_) {
      if (lines_[at_] == kDashes) {
        ++at_;
        directive->input = Trim(input);
        directive->expected_begin = directive->expected_end = at_;
        return true;
      }
      input += lines_[at_];
      input += '\n';
    }
    directive->input = Trim(input);
    directive->expected_begin = directive->expected_end = at_;
    return false;
  }

  absl::Status TakeExpected(Directive* directive) {
    if (at_ < lines_.size() && lines_[at_] == kDashes) return TakeExpectedWithBlankLines(directive);
    for (; at_ < lines_.size() && !Trim(lines_[at_]).empty(); ++at_) AddExpected(directive);
    directive->expected_end = at_;
    return absl::OkStatus();
  }

  absl::Status TakeExpectedWithBlankLines(Directive* directive) {
    for (++at_; at_ < lines_.size(); ++at_) {
      if (lines_[at_] == kDashes && at_ + 1 < lines_.size() && lines_[at_ + 1] == kDashes) {
        at_ += 2;
        directive->expected_end = at_;
        if (at_ < lines_.size() && !Trim(lines_[at_]).empty()) {
          return Malformed(fmt::format("line {}: a blank line must follow the dashes", at_ + 1));
        }
        return absl::OkStatus();
      }
      AddExpected(directive);
    }
    return Malformed(fmt::format("line {}: the output has no end", directive->line));
  }

  void AddExpected(Directive* directive) {
    directive->expected += lines_[at_];
    directive->expected += '\n';
  }

  std::vector<std::string_view> lines_;
  size_t at_ = 0;
};

}  // namespace

absl::Status Malformed(std::string_view text) { return absl::AbortedError(std::string(text)); }
bool IsMalformed(const absl::Status& status) { return status.code() == absl::StatusCode::kAborted; }

std::vector<std::string_view> SplitLines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    lines.push_back(line);
  }
  return lines;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

std::string WithNewline(std::string text) {
  if (!text.empty() && text.back() != '\n') text += '\n';
  return text;
}

absl::StatusOr<Directive> ParseCommand(std::string_view text, size_t line) {
  text = Trim(text);
  Directive directive;
  directive.line = line;
  size_t at = std::min(text.find(' '), text.size());
  directive.command = text.substr(0, at);
  while (true) {
    while (at < text.size() && text[at] == ' ') ++at;
    if (at >= text.size()) return directive;
    const size_t end = std::min(text.find_first_of(" =", at), text.size());
    Arg arg{.key = std::string(text.substr(at, end - at)), .values = {}};
    if (arg.key.empty()) return Malformed(fmt::format("line {}: a value without a key", line));
    at = end;
    if (at < text.size() && text[at] == '=') {
      ++at;
      KVORUM_ASSIGN_OR_RETURN(arg.values, ParseValues(text, &at, line));
    }
    directive.args.push_back(std::move(arg));
  }
}

absl::StatusOr<std::vector<Directive>> ParseFile(std::string_view content) { return Parser(content).Parse(); }

std::string Rewritten(std::string_view content, const std::vector<Directive>& directives,
                      const std::vector<std::string>& outputs) {
  const std::vector<std::string_view> lines = SplitLines(content);
  std::string out;
  size_t at = 0;
  const auto copy_until = [&](size_t end) {
    for (; at < end; ++at) out.append(lines[at]).append("\n");
  };
  for (size_t i = 0; i < directives.size(); ++i) {
    copy_until(directives[i].expected_begin);
    // A last directive may have no dashes yet.
    if (at == lines.size() && (lines.empty() || lines.back() != kDashes)) out.append(kDashes).append("\n");
    const bool blank_lines = outputs[i].find("\n\n") != std::string::npos || outputs[i].starts_with("\n");
    if (blank_lines) out.append(kDashes).append("\n");
    out += outputs[i];
    if (blank_lines) out.append(kDashes).append("\n").append(kDashes).append("\n");
    at = directives[i].expected_end;
  }
  copy_until(lines.size());
  return out;
}

std::string Diff(std::string_view expected, std::string_view actual) {
  const std::vector<std::string_view> a = SplitLines(expected);
  const std::vector<std::string_view> b = SplitLines(actual);
  // common[i][j]: length of the longest common subsequence of a[i..] and b[j..].
  std::vector<std::vector<uint32_t>> common(a.size() + 1, std::vector<uint32_t>(b.size() + 1, 0));
  for (size_t i = a.size(); i-- > 0;) {
    for (size_t j = b.size(); j-- > 0;) {
      common[i][j] = a[i] == b[j] ? common[i + 1][j + 1] + 1 : std::max(common[i + 1][j], common[i][j + 1]);
    }
  }
  std::string out;
  const auto put = [&out](char mark, std::string_view line) { out += fmt::format("{}{}\n", mark, line); };
  size_t i = 0;
  size_t j = 0;
  while (i < a.size() || j < b.size()) {
    if (i < a.size() && j < b.size() && a[i] == b[j]) {
      put(' ', a[i++]);
      ++j;
    } else if (i < a.size() && (j == b.size() || common[i + 1][j] >= common[i][j + 1])) {
      put('-', a[i++]);
    } else {
      put('+', b[j++]);
    }
  }
  return out;
}

namespace {

template <typename T>
absl::StatusOr<T> ToNumber(const std::string& text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Malformed(fmt::format("\"{}\" is no number", text));
  }
  return value;
}

}  // namespace

absl::StatusOr<uint64_t> ToUint(const std::string& text) { return ToNumber<uint64_t>(text); }
absl::StatusOr<int> ToInt(const std::string& text) { return ToNumber<int>(text); }

absl::StatusOr<bool> ToBool(const std::string& text) {
  for (const std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (text == no) return false;
  }
  return Malformed(fmt::format("\"{}\" is neither true nor false", text));
}

}  // namespace kvorum::scenarios
