#include "api/v2/passwords.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "base/check.h"

namespace kvorum::api_v2 {
namespace {

constexpr unsigned long kCost = 10;
constexpr size_t kSaltBytes = 16;
constexpr size_t kHashLength = 60;
constexpr size_t kLetter = 2;  // where the variant's letter stands

/// Distinct pairs that wait to be checked, and passwords to be hashed: about three seconds of work.
constexpr size_t kMaxWaiting = 64;
/// Of those, of one user: so that nobody who does not know a password keeps the others out.
constexpr size_t kMaxWaitingOfUser = 8;
/// Requests that wait for them.
constexpr size_t kMaxRequests = 10'000;
/// Right pairs to remember.
constexpr size_t kMaxRemembered = 4096;

/// The C library's bcrypt. 'b' is the plain algorithm: 'a' and 'y' differ there for passwords that never were
/// in use, and in etcd not at all.
std::optional<std::string> Crypt(const std::string& password, std::string setting) {
  if (password.find('\0') != std::string::npos) return std::nullopt;
  setting[kLetter] = 'b';
  const auto data = std::make_unique<crypt_data>();
  const char* hash = crypt_rn(password.c_str(), setting.c_str(), data.get(), sizeof(crypt_data));
  std::optional<std::string> result;
  if (hash != nullptr) result = hash;
  OPENSSL_cleanse(data.get(), sizeof(crypt_data));
  return result;
}

using Digest = std::array<uint8_t, 32>;

struct Pair {
  Digest digest;  // of hash and password, under the key
  bool operator==(const Pair& other) const {
    return CRYPTO_memcmp(digest.data(), other.digest.data(), digest.size()) == 0;
  }
  template <typename H>
  friend H AbslHashValue(H state, const Pair& pair) {
    return H::combine_contiguous(std::move(state), pair.digest.data(), pair.digest.size());
  }
};

/// One request's end of a check. Used on its loop.
struct Waiter final {
  AccessControl::Done done;
};

class WaiterTicket final : public AccessControl::Ticket {
 public:
  explicit WaiterTicket(std::shared_ptr<Waiter> waiter) : waiter_(std::move(waiter)) {}

 private:
  const std::shared_ptr<Waiter> waiter_;  // the only one that keeps it
};

}  // namespace

std::optional<std::string> HashPassword(const std::string& password) {
  std::array<char, kSaltBytes> salt;
  KVORUM_CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(salt.data()), salt.size()) == 1,
               "no random numbers");
  std::array<char, CRYPT_GENSALT_OUTPUT_SIZE> setting;
  KVORUM_CHECK(
      crypt_gensalt_rn("$2b$", kCost, salt.data(), salt.size(), setting.data(), setting.size()) != nullptr,
      "the C library has no bcrypt");
  std::optional<std::string> hash = Crypt(password, setting.data());
  if (hash) (*hash)[kLetter] = 'a';
  return hash;
}

bool PasswordMatches(const std::string& password, const std::string& hash) {
  if (hash.size() != kHashLength || !hash.starts_with("$2") || hash[3] != '$') return false;
  std::optional<std::string> computed = Crypt(password, hash);
  if (!computed || computed->size() != kHashLength) return false;
  (*computed)[kLetter] = hash[kLetter];
  return CRYPTO_memcmp(computed->data(), hash.data(), kHashLength) == 0;
}

class Passwords::State : public std::enable_shared_from_this<State> {
 public:
  explicit State(Executor* executor) : executor_(*executor) {
    KVORUM_CHECK(RAND_bytes(key_.data(), key_.size()) == 1, "no random numbers");
  }

  std::unique_ptr<AccessControl::Ticket> Check(std::string_view user, const std::string& hash,
                                               const std::string& password, http::Loop& loop,
                                               AccessControl::Done done);
  bool Hash(std::string password, http::Loop& loop,
            absl::AnyInvocable<void(std::optional<std::string>)> done);

 private:
  struct Waiting {
    std::vector<std::pair<http::Loop*, std::weak_ptr<Waiter>>> requests;
  };

  Pair PairOf(const std::string& hash, const std::string& password) const {
    const std::string text = hash + password;  // a hash has one length
    Pair pair;
    unsigned int size = 0;
    KVORUM_CHECK(HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()),
                      reinterpret_cast<const unsigned char*>(text.data()), text.size(), pair.digest.data(),
                      &size) != nullptr &&
                 size == pair.digest.size());
    return pair;
  }
  bool Remembers(const Pair& pair) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return newer_.contains(pair) || older_.contains(pair);
  }
  void Remember(const Pair& pair) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// One more pair of that user is to wait. False: there is no room.
  bool TakePlace(std::string_view user) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// On the executor.
  void Compute(const Pair& pair, const std::string& user, const std::string& hash,
               const std::string& password);
  /// True: nobody waits for it any more, and it is forgotten.
  bool Drop(const Pair& pair, const std::string& user);
  void Finish(const Pair& pair, const std::string& user, bool right);
  Waiting Take(const Pair& pair, const std::string& user) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Executor& executor_;
  std::array<unsigned char, 32> key_;

  absl::Mutex mutex_;
  absl::flat_hash_map<Pair, Waiting> waiting_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, size_t> waiting_of_user_ ABSL_GUARDED_BY(mutex_);
  size_t requests_ ABSL_GUARDED_BY(mutex_) = 0;  // in waiting_
  size_t hashes_ ABSL_GUARDED_BY(mutex_) = 0;    // to be made
  // Two halves: when the newer is full it takes the older's place.
  absl::flat_hash_set<Pair> newer_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<Pair> older_ ABSL_GUARDED_BY(mutex_);
};

void Passwords::State::Remember(const Pair& pair) {
  newer_.insert(pair);
  if (newer_.size() < kMaxRemembered / 2) return;
  older_ = std::move(newer_);
  newer_.clear();
}

bool Passwords::State::TakePlace(std::string_view user) {
  if (waiting_.size() + hashes_ >= kMaxWaiting) return false;
  size_t& of_user = waiting_of_user_[std::string(user)];
  if (of_user >= kMaxWaitingOfUser) return false;
  ++of_user;
  return true;
}

std::unique_ptr<AccessControl::Ticket> Passwords::State::Check(std::string_view user, const std::string& hash,
                                                               const std::string& password, http::Loop& loop,
                                                               AccessControl::Done done) {
  const Pair pair = PairOf(hash, password);
  auto waiter = std::make_shared<Waiter>();
  std::optional<Verdict> at_once;
  bool first = false;
  {
    absl::MutexLock lock(&mutex_);
    first = !waiting_.contains(pair);
    if (Remembers(pair)) {
      at_once = Verdict::kAllowed;
      Remember(pair);
    } else if (requests_ >= kMaxRequests || (first && !TakePlace(user))) {
      at_once = Verdict::kBusy;
    } else {
      waiting_[pair].requests.emplace_back(&loop, waiter);
      ++requests_;
    }
  }
  if (at_once) {
    done(*at_once);
    return nullptr;
  }
  waiter->done = std::move(done);
  if (first) {
    executor_.Post([self = shared_from_this(), pair, user = std::string(user), hash, password] {
      self->Compute(pair, user, hash, password);
    });
  }
  return std::make_unique<WaiterTicket>(std::move(waiter));
}

Passwords::State::Waiting Passwords::State::Take(const Pair& pair, const std::string& user) {
  auto node = waiting_.extract(pair);
  requests_ -= node.mapped().requests.size();
  const auto of_user = waiting_of_user_.find(user);
  if (--of_user->second == 0) waiting_of_user_.erase(of_user);
  return std::move(node.mapped());
}

bool Passwords::State::Drop(const Pair& pair, const std::string& user) {
  absl::MutexLock lock(&mutex_);
  for (const auto& [_, waiter] : waiting_[pair].requests) {
    if (!waiter.expired()) return false;
  }
  Take(pair, user);
  return true;
}

void Passwords::State::Compute(const Pair& pair, const std::string& user, const std::string& hash,
                               const std::string& password) {
  if (!Drop(pair, user)) Finish(pair, user, PasswordMatches(password, hash));
}

void Passwords::State::Finish(const Pair& pair, const std::string& user, bool right) {
  const Verdict verdict = right ? Verdict::kAllowed : Verdict::kDenied;
  Waiting finished;
  {
    absl::MutexLock lock(&mutex_);
    if (right) Remember(pair);
    finished = Take(pair, user);
  }
  for (auto& [loop, waiter] : finished.requests) {
    loop->Post([waiter = std::move(waiter), verdict] {
      const std::shared_ptr<Waiter> alive = waiter.lock();
      if (alive != nullptr && alive->done) std::exchange(alive->done, nullptr)(verdict);
    });
  }
}

bool Passwords::State::Hash(std::string password, http::Loop& loop,
                            absl::AnyInvocable<void(std::optional<std::string>)> done) {
  {
    absl::MutexLock lock(&mutex_);
    if (waiting_.size() + hashes_ >= kMaxWaiting) return false;
    ++hashes_;
  }
  executor_.Post(
      [self = shared_from_this(), password = std::move(password), &loop, done = std::move(done)]() mutable {
        std::optional<std::string> hash = HashPassword(password);
        {
          absl::MutexLock lock(&self->mutex_);
          --self->hashes_;
        }
        loop.Post([done = std::move(done), hash = std::move(hash)]() mutable { done(std::move(hash)); });
      });
  return true;
}

Passwords::Passwords(Executor* executor) : state_(std::make_shared<State>(executor)) {}
Passwords::~Passwords() = default;

std::unique_ptr<AccessControl::Ticket> Passwords::Check(std::string_view user, const std::string& hash,
                                                        const std::string& password, http::Loop& loop,
                                                        AccessControl::Done done) {
  return state_->Check(user, hash, password, loop, std::move(done));
}

bool Passwords::Hash(std::string password, http::Loop& loop,
                     absl::AnyInvocable<void(std::optional<std::string>)> done) {
  return state_->Hash(std::move(password), loop, std::move(done));
}

}  // namespace kvorum::api_v2
