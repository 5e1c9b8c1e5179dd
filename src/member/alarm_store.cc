#include "member/alarm_store.h"

#include "base/status.h"
#include "base/wire.h"

namespace kvorum::member {
namespace {

using backend::Bucket;

std::optional<Alarm> DecodeAlarm(std::string_view data) {
  Alarm alarm;
  wire::Reader reader(data);
  for (wire::Field field; reader.Next(&field);) {
    if (field.type != wire::Type::kVarint) return std::nullopt;
    if (field.number == 1) alarm.member = MemberId(field.varint);
    if (field.number == 2) {
      if (field.varint > 2) return std::nullopt;
      alarm.type = static_cast<AlarmType>(field.varint);
    }
  }
  if (!reader.ok()) return std::nullopt;
  return alarm;
}

}  // namespace

std::string EncodeAlarm(const Alarm& alarm) {
  std::string out;
  if (alarm.member != MemberId(0)) wire::AppendUint(out, 1, alarm.member.value());
  if (alarm.type != AlarmType::kNone) wire::AppendUint(out, 2, static_cast<uint64_t>(alarm.type));
  return out;
}

absl::Status AlarmStore::Load() {
  std::set<Alarm> alarms;
  absl::Status bad;
  KVORUM_RETURN_IF_ERROR(
      backend_->NewReadView()->Scan(Bucket::kAlarm, {}, {}, [&](std::string_view key, std::string_view) {
        const std::optional<Alarm> alarm = DecodeAlarm(key);
        if (!alarm) bad = absl::DataLossError("an alarm record cannot be read");
        if (alarm) alarms.insert(*alarm);
        return alarm.has_value();
      }));
  KVORUM_RETURN_IF_ERROR(bad);
  absl::MutexLock lock(&mutex_);
  alarms_ = std::move(alarms);
  Count();
  return absl::OkStatus();
}

bool AlarmStore::Activate(const Alarm& alarm) {
  {
    absl::MutexLock lock(&mutex_);
    if (!alarms_.insert(alarm).second) return false;
    Count();
  }
  backend_->Put(Bucket::kAlarm, EncodeAlarm(alarm), Bytes::Copy({}));
  return true;
}

bool AlarmStore::Deactivate(const Alarm& alarm) {
  {
    absl::MutexLock lock(&mutex_);
    if (alarms_.erase(alarm) == 0) return false;
    Count();
  }
  backend_->Delete(Bucket::kAlarm, EncodeAlarm(alarm));
  return true;
}

std::vector<Alarm> AlarmStore::List(AlarmType type) const {
  std::vector<Alarm> out;
  absl::ReaderMutexLock lock(&mutex_);
  for (const Alarm& alarm : alarms_) {
    if (type == AlarmType::kNone || alarm.type == type) out.push_back(alarm);
  }
  return out;
}

void AlarmStore::Count() {
  std::array<size_t, 3> counts{};
  for (const Alarm& alarm : alarms_) ++counts[static_cast<size_t>(alarm.type)];
  for (size_t i = 0; i < counts.size(); ++i) counts_[i].store(counts[i], std::memory_order_release);
}

}  // namespace kvorum::member
