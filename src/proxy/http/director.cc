#include "proxy/http/director.h"

#include <algorithm>

#include "http/url.h"

namespace kvorum::proxy_http {

Director::Director(Options options) : options_(std::move(options)), random_(options_.seed) {
  endpoints_ = std::make_shared<Endpoints>();
}

void Director::Replace(const std::vector<std::string>& urls) {
  auto fresh = std::make_shared<Endpoints>();
  for (std::string url : urls) {
    if (url.ends_with('/')) url.pop_back();
    if (const auto parsed = http::ParseHttpUrl(url); !parsed.ok()) {
      KVORUM_LOG(*options_.logger, kWarn, "upstream URL invalid", {"url", url},
                 {"error", std::string(parsed.status().message())});
      continue;
    }
    fresh->push_back(std::make_shared<Endpoint>(std::move(url)));
  }
  absl::MutexLock lock(&mutex_);
  for (size_t i = fresh->size(); i > 1; --i) std::swap((*fresh)[i - 1], (*fresh)[random_.Below(i)]);
  endpoints_ = std::move(fresh);
}

std::shared_ptr<const Endpoints> Director::endpoints() const {
  absl::MutexLock lock(&mutex_);
  return endpoints_;
}

std::vector<std::string> Director::AvailableUrls() const {
  std::vector<std::string> urls;
  const std::shared_ptr<const Endpoints> all = endpoints();
  for (const auto& endpoint : *all) {
    if (endpoint->available) urls.push_back(endpoint->url);
  }
  return urls;
}

void Director::MarkFailed(const std::shared_ptr<Endpoint>& endpoint) {
  if (!endpoint->available.exchange(false)) return;
  KVORUM_LOG(*options_.logger, kWarn, "marked endpoint unavailable", {"endpoint", endpoint->url});
  options_.executor->PostAfter(options_.failure_wait, [self = shared_from_this(), endpoint] {
    if (endpoint->available.exchange(true)) return;
    KVORUM_LOG(*self->options_.logger, kInfo, "marked endpoint available, to retest connectivity",
               {"endpoint", endpoint->url});
  });
  if (!options_.on_none) return;
  options_.executor->Post([self = shared_from_this()] {
    if (self->AvailableUrls().empty()) self->options_.on_none();
  });
}

}  // namespace kvorum::proxy_http
