#pragma once

#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "http/handler.h"

namespace kvorum::http {

/// A request and the memory of its texts, in one allocation where the head is not large.
class StoredRequest final : public Request {
 public:
  StoredRequest() { headers.reserve(kUsualHeaders); }  // leaves inline_ as it is

  /// Makes it as new, for another request. REQUIRES: nobody else holds it
  void Clear() {
    protocol = Protocol::kHttp1;
    for (std::string_view* text : {&method, &path, &query, &authority, &remote}) *text = {};
    headers.clear();
    more_.clear();
    next_ = inline_;
    left_ = kInlineBytes;
  }

  /// A copy of `text` that lives as long as the request.
  std::string_view Keep(std::string_view text) {
    if (text.size() > left_) Grow(text.size());
    char* to = next_;
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
    next_ += text.size();
    left_ -= text.size();
    return {to, text.size()};
  }

  /// Sets path and query from the request's target.
  void SetTarget(std::string_view target) {
    const size_t mark = target.find('?');
    path = target.substr(0, mark);
    query = mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
  }

 private:
  static constexpr size_t kInlineBytes = 512;
  static constexpr size_t kUsualHeaders = 10;

  void Grow(size_t need) {
    left_ = std::max(need, 2 * kInlineBytes);
    more_.push_back(std::make_unique<char[]>(left_));
    next_ = more_.back().get();
  }

  char* next_ = inline_;
  size_t left_ = kInlineBytes;
  std::vector<std::unique_ptr<char[]>> more_;
  char inline_[kInlineBytes];
};

}  // namespace kvorum::http
