#include "sim/check/kv_model.h"

#include <algorithm>

#include "sim/check/describe.h"

namespace kvorum::sim {

bool InRange(std::string_view key, std::string_view begin, std::string_view range_end) {
  if (range_end.empty()) return key == begin;
  if (key < begin) return false;
  return (range_end.size() == 1 && range_end[0] == '\0') || key < range_end;
}

KvModel::KvModel(const std::vector<Revision>& revisions, Violations* violations) : revisions_(revisions) {
  for (const Revision& revision : revisions) {
    if (revision.revision != last_revision_ + 1) {
      violations->push_back(
          fmt::format("revision {} follows revision {}", revision.revision, last_revision_));
      return;
    }
    last_revision_ = revision.revision;
    Replay(revision, violations);
  }
}

void KvModel::Replay(const Revision& revision, Violations* violations) {
  if (revision.events.empty()) {
    violations->push_back(fmt::format("revision {} has no events", revision.revision));
  }
  for (const mvccpb::Event& event : revision.events) {
    const mvccpb::KeyValue& kv = event.kv();
    Versions& versions = keys_[kv.key()];
    const bool existed = !versions.empty() && versions.back().exists;
    mvccpb::KeyValue pair;
    if (existed) pair = versions.back().pair;
    const bool put = event.type() == mvccpb::Event::PUT;
    if (put) {
      if (!existed) pair.set_create_revision(revision.revision);
      pair.set_key(kv.key());
      pair.set_mod_revision(revision.revision);
      pair.set_version(pair.version() + 1);
      pair.set_value(kv.value());
      pair.set_lease(kv.lease());
      if (kv.create_revision() != pair.create_revision() || kv.version() != pair.version() ||
          kv.mod_revision() != pair.mod_revision()) {
        violations->push_back(fmt::format("revision {} has {}, which should be {}", revision.revision,
                                          Describe(kv), Describe(pair)));
      }
      if (kv.lease() != 0) {
        std::vector<std::string>& keys = lease_keys_[kv.lease()];
        const auto at = std::lower_bound(keys.begin(), keys.end(), kv.key());
        if (at == keys.end() || *at != kv.key()) keys.insert(at, kv.key());
      }
    } else {
      if (!existed) {
        violations->push_back(
            fmt::format("revision {} deletes {}, which is not there", revision.revision, Quote(kv.key())));
      }
      if (kv.mod_revision() != revision.revision) {
        violations->push_back(fmt::format("revision {} deletes {} with mod_revision {}", revision.revision,
                                          Quote(kv.key()), kv.mod_revision()));
      }
    }
    if (versions.empty() || versions.back().revision != revision.revision) {
      versions.push_back({.revision = revision.revision, .exists = false, .pair = {}});
    }
    versions.back().exists = put;
    versions.back().pair = put ? std::move(pair) : mvccpb::KeyValue();
  }
}

const std::vector<mvccpb::Event>& KvModel::events(int64_t revision) const {
  static const std::vector<mvccpb::Event> kNone;
  if (revision < first_revision_ || revision > last_revision_) return kNone;
  return revisions_[static_cast<size_t>(revision - first_revision_)].events;
}

Instant KvModel::seen(int64_t revision) const {
  if (revision < first_revision_ || revision > last_revision_) return kNever;
  return revisions_[static_cast<size_t>(revision - first_revision_)].seen;
}

const KvModel::Version* KvModel::Find(const Versions& versions, int64_t revision) const {
  auto after = std::upper_bound(versions.begin(), versions.end(), revision,
                                [](int64_t r, const Version& version) { return r < version.revision; });
  if (after == versions.begin()) return nullptr;
  --after;
  return after->exists ? &*after : nullptr;
}

const mvccpb::KeyValue* KvModel::Get(std::string_view key, int64_t revision) const {
  const auto found = keys_.find(key);
  if (found == keys_.end()) return nullptr;
  const Version* version = Find(found->second, revision);
  return version == nullptr ? nullptr : &version->pair;
}

std::vector<const mvccpb::KeyValue*> KvModel::Range(std::string_view key, std::string_view range_end,
                                                    int64_t revision) const {
  std::vector<const mvccpb::KeyValue*> found;
  for (auto it = keys_.lower_bound(key); it != keys_.end() && InRange(it->first, key, range_end); ++it) {
    if (const Version* version = Find(it->second, revision)) found.push_back(&version->pair);
  }
  return found;
}

std::vector<std::string> KvModel::KeysOf(int64_t lease, int64_t revision) const {
  std::vector<std::string> keys;
  const auto ever = lease_keys_.find(lease);
  if (ever == lease_keys_.end()) return keys;
  for (const std::string& key : ever->second) {
    const mvccpb::KeyValue* pair = Get(key, revision);
    if (pair != nullptr && pair->lease() == lease) keys.push_back(key);
  }
  return keys;
}

}  // namespace kvorum::sim
