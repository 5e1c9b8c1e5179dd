#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "member/ports.h"

namespace kvorum::member {

/// Other members that answer what the test says, at once. Only the first peer URL is looked at.
class FakeCalls : public PeerCalls {
 public:
  /// What a member of that URL says of its versions; of another URL, `version`, where that is not empty.
  std::map<std::string, std::string> versions;
  std::string version;
  /// Whether they say that they are Kvorum.
  bool kvorum = true;
  std::function<absl::StatusOr<int64_t>(const std::string& url, LeaseId id)> on_renew;
  std::function<absl::StatusOr<lease::LeaseView>(const std::string& url, LeaseId id)> on_time_to_live;
  std::function<absl::StatusOr<mvcc::HashResult>(const std::string& url, int64_t revision)> on_hash;
  int asked = 0;  ///< how often, whatever for

  void RenewLease(Urls urls, LeaseId id, MonotonicTime, Done<int64_t> done) override {
    ++asked;
    done(on_renew ? on_renew(urls.at(0), id) : Nobody());
  }
  void LeaseTimeToLive(Urls urls, LeaseId id, bool, MonotonicTime, Done<lease::LeaseView> done) override {
    ++asked;
    done(on_time_to_live ? on_time_to_live(urls.at(0), id) : Nobody());
  }
  void PromoteMember(Urls, MemberId, MonotonicTime, Done<std::vector<cluster::Member>> done) override {
    ++asked;
    done(Nobody());
  }
  void HashKv(Urls urls, ClusterId, int64_t revision, MonotonicTime, Done<mvcc::HashResult> done) override {
    ++asked;
    done(on_hash ? on_hash(urls.at(0), revision) : Nobody());
  }
  void Members(Urls, MonotonicTime, Done<PeerMembers> done) override { done(Nobody()); }
  void Versions(Urls urls, MonotonicTime, Done<PeerVersions> done) override {
    ++asked;
    const auto found = versions.find(urls.at(0));
    const std::string server = found == versions.end() ? version : found->second;
    if (server.empty()) return done(Nobody());
    done(PeerVersions{.server = server, .cluster = "not_decided", .kvorum = kvorum ? "0.1.0" : ""});
  }
  void DowngradeEnabled(Urls, MonotonicTime, Done<bool> done) override { done(Nobody()); }

 private:
  static absl::Status Nobody() { return absl::UnavailableError("nobody there"); }
};

}  // namespace kvorum::member
