#include "api/v2/auth_store.h"

#include <array>
#include <utility>

#include "api/v2/auth_table.h"
#include "api/v2/http_status.h"

namespace kvorum::api_v2 {
namespace {

constexpr size_t kDirectories = 4;

/// What has to be there before the first record.
v2store::Request Directory(size_t number) {
  constexpr std::array<std::string_view, kDirectories - 1> kPaths = {kAuthPath, kUsersPath, kRolesPath};
  v2store::Request request{.method = "PUT", .prev_exist = false};
  request.dir = number < kPaths.size();
  request.path = request.dir ? kPaths[number] : kEnabledPath;
  if (!request.dir) request.value = "false";
  return request;
}

AuthResult<AuthStore::Outcome> OutcomeOf(const v2store::Error& error, AuthError unexpected) {
  if (error.code == v2store::ErrorCode::kKeyExists) return AuthStore::Outcome::kExists;
  if (error.code == v2store::ErrorCode::kKeyNotFound) return AuthStore::Outcome::kMissing;
  if (error.code == v2store::ErrorCode::kCompareFailed) return AuthStore::Outcome::kChanged;
  return unexpected;
}

}  // namespace

MonotonicTime AuthStore::Deadline(http::Loop& loop) const {
  return loop.clock().Now() + member_.options().request_timeout();
}

AuthError AuthStore::Unexpected(std::string_view error) const {
  KVORUM_LOG(logger_, kWarn, "failed to serve a v2 auth request", {"error", error});
  return {kInternalError, "Internal Server Error"};
}

void AuthStore::Confirm(http::Loop& loop, absl::AnyInvocable<void(std::optional<AuthError>)> then) {
  auto shared = std::make_shared<decltype(then)>(std::move(then));  // with the member, where it waits
  absl::AnyInvocable<void(absl::Status)> done = [this, &loop, shared](absl::Status status) {
    loop.Post([this, shared, status = std::move(status)] {
      if (status.ok()) return (*shared)(std::nullopt);
      const absl::string_view text = status.message();
      (*shared)(Unexpected({text.data(), text.size()}));
    });
  };
  if (member_.ConfirmRead(Deadline(loop), &done)) (*shared)(std::nullopt);
}

void AuthStore::Propose(http::Loop& loop, v2store::Request request, Applied then) {
  member_.ProposeV2(std::move(request), Deadline(loop),
                    [this, &loop, then = std::move(then)](member::Member::V2Outcome outcome) mutable {
                      loop.Post([this, then = std::move(then), outcome = std::move(outcome)]() mutable {
                        if (outcome.status.ok()) return then(std::move(outcome.result));
                        const std::string text(outcome.status.message());
                        // What a client can do something about: a member of the cluster that takes no v2
                        // entries.
                        const bool told = outcome.status.code() == absl::StatusCode::kFailedPrecondition;
                        then(told ? AuthError{kInternalError, text} : Unexpected(text));
                      });
                    });
}

void AuthStore::MakeDirectories(http::Loop& loop, size_t next,
                                absl::AnyInvocable<void(std::optional<AuthError>)> then) {
  if (next == kDirectories || directories_made_.load(std::memory_order_acquire)) {
    directories_made_.store(true, std::memory_order_release);
    return then(std::nullopt);
  }
  Propose(loop, Directory(next),
          [this, &loop, next, then = std::move(then)](AuthResult<v2store::Result> result) mutable {
            if (auto* failed = std::get_if<AuthError>(&result)) return then(std::move(*failed));
            const auto* error = std::get_if<v2store::Error>(&std::get<0>(result));
            if (error != nullptr && error->code != v2store::ErrorCode::kKeyExists) {
              return then(Unexpected(v2store::Message(error->code)));
            }
            MakeDirectories(loop, next + 1, std::move(then));
          });
}

void AuthStore::Apply(http::Loop& loop, Change change, Then then) {
  v2store::Request request{.method = change.kind == Kind::kDelete ? "DELETE" : "PUT",
                           .path = std::move(change.path),
                           .value = std::move(change.value),
                           .prev_value = std::move(change.replaces),
                           .prev_exist = change.kind != Kind::kCreate};
  MakeDirectories(loop, 0,
                  [this, &loop, request = std::move(request),
                   then = std::move(then)](std::optional<AuthError> failed) mutable {
                    if (failed) return then(*std::move(failed));
                    Propose(loop, std::move(request),
                            [this, then = std::move(then)](AuthResult<v2store::Result> result) mutable {
                              if (auto* error = std::get_if<AuthError>(&result))
                                return then(std::move(*error));
                              const auto* error = std::get_if<v2store::Error>(&std::get<0>(result));
                              if (error == nullptr) return then(Outcome::kDone);
                              then(OutcomeOf(*error, Unexpected(v2store::Message(error->code))));
                            });
                  });
}

}  // namespace kvorum::api_v2
