#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace kvorum::config {

/// One URL of a list like --listen-client-urls.
struct Url {
  std::string scheme;  ///< http, https, unix or unixs
  std::string host;    ///< "127.0.0.1:2379"; of a socket: the path's start
  std::string path;    ///< empty but for sockets

  std::string Text() const { return scheme + "://" + host + path; }
  /// The host without port and brackets.
  std::string Hostname() const;
  std::string Port() const;
  bool IsSocket() const { return scheme == "unix" || scheme == "unixs"; }
  bool IsSecure() const { return scheme == "https" || scheme == "unixs"; }

  bool operator==(const Url&) const = default;
  auto operator<=>(const Url&) const = default;
};

/// One URL. Errors: as of ParseUrls.
absl::StatusOr<Url> ParseUrl(std::string_view text);
/// A comma-separated list, trimmed, sorted and without doubles. Errors: InvalidArgument with etcd's text
/// (reference: flags.md §4).
absl::StatusOr<std::vector<Url>> ParseUrls(std::string_view text);

/// The texts, in the list's order.
std::vector<std::string> Texts(const std::vector<Url>& urls);
/// The same joined by commas.
std::string JoinUrls(const std::vector<Url>& urls);

/// Every host is an IP address or "localhost": "expected IP in URL for binding (…)".
absl::Status CheckBindUrls(const std::vector<Url>& urls);
/// No host is empty: "unexpected empty host (…)".
absl::Status CheckHostUrls(const std::vector<Url>& urls);

/// Splits "host:port" as Go's net.SplitHostPort; brackets are taken off. False where there is no such form.
bool SplitHostPort(std::string_view text, std::string* host, std::string* port);

}  // namespace kvorum::config
