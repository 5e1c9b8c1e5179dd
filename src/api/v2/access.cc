#include "api/v2/access.h"

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "api/v2/auth_table.h"
#include "api/v2/passwords.h"
#include "base/check.h"

namespace kvorum::api_v2 {
namespace {

struct Credentials {
  std::string user;
  std::string password;
};

/// As Go reads them: the scheme in any case, padded base64, a colon after the name.
std::optional<Credentials> BasicCredentials(std::string_view header) {
  constexpr std::string_view kScheme = "Basic ";
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (header.size() < kScheme.size() ||
      !absl::EqualsIgnoreCase({header.data(), kScheme.size()}, {kScheme.data(), kScheme.size()})) {
    return std::nullopt;
  }
  const std::string_view text = header.substr(kScheme.size());
  const size_t end = std::min(text.find_last_not_of('=') + 1, text.size());
  std::string plain;
  if (text.size() % 4 != 0 || text.size() - end > 2 ||
      text.substr(0, end).find_first_not_of(kAlphabet) != std::string_view::npos ||
      !absl::Base64Unescape({text.data(), text.size()}, &plain)) {
    return std::nullopt;
  }
  const size_t colon = plain.find(':');
  if (colon == std::string::npos) return std::nullopt;
  return Credentials{plain.substr(0, colon), plain.substr(colon + 1)};
}

/// What the caller shows; null where that is nothing.
const std::string_view* Authorization(const http::Request& request) {
  const std::string_view* header = request.Find("authorization");
  return header == nullptr || header->empty() ? nullptr : header;
}

class AccessControlImpl final : public AccessControl {
 public:
  explicit AccessControlImpl(const HandlerOptions& options)
      : table_(&options.member->v2_store()), passwords_(options.password_executor) {}

  bool enabled() const override { return table_.enabled(); }

  std::unique_ptr<Ticket> CheckKey(const http::Request& request, http::ResponseWriter& writer,
                                   std::string_view key, bool write, bool recursive, Done done) override {
    if (!enabled()) return Answer(Verdict::kAllowed, std::move(done));
    if (Authorization(request) == nullptr) {
      const std::shared_ptr<const Role> guest = table_.FindRole(kGuest);
      const bool allowed = guest != nullptr && guest->Allows(key, write, /*recursive=*/false);
      return Answer(allowed ? Verdict::kAllowed : Verdict::kDenied, std::move(done));
    }
    return CheckUser(request, writer, std::move(done),
                     [this, key = std::string(key), write, recursive](const User& user) {
                       return MayUse(user, key, write, recursive);
                     });
  }

  std::unique_ptr<Ticket> CheckRoot(const http::Request& request, http::ResponseWriter& writer,
                                    Done done) override {
    if (!enabled()) return Answer(Verdict::kAllowed, std::move(done));
    if (Authorization(request) == nullptr) return Answer(Verdict::kDenied, std::move(done));
    return CheckUser(request, writer, std::move(done), [](const User& user) { return user.HasRole(kRoot); });
  }

 private:
  static std::unique_ptr<Ticket> Answer(Verdict verdict, Done done) {
    done(verdict);
    return nullptr;
  }

  bool MayUse(const User& user, std::string_view key, bool write, bool recursive) const {
    if (!user.roles) return false;
    return std::any_of(user.roles->begin(), user.roles->end(), [&](const std::string& name) {
      const std::shared_ptr<const Role> role = table_.FindRole(name);
      return role != nullptr && role->Allows(key, write, recursive);
    });
  }

  /// Whether the credentials are right, and their user `may`.
  template <typename May>
  std::unique_ptr<Ticket> CheckUser(const http::Request& request, http::ResponseWriter& writer, Done done,
                                    May may) {
    const std::optional<Credentials> credentials = BasicCredentials(*Authorization(request));
    std::shared_ptr<const User> user = credentials ? table_.FindUser(credentials->user) : nullptr;
    if (user == nullptr) return Answer(Verdict::kDenied, std::move(done));
    const User& shown = *user;
    return passwords_.Check(
        credentials->user, shown.password, credentials->password, writer.loop(),
        [user = std::move(user), may = std::move(may), done = std::move(done)](Verdict verdict) mutable {
          if (verdict == Verdict::kAllowed && !may(*user)) verdict = Verdict::kDenied;
          done(verdict);
        });
  }

  const AuthTable table_;
  Passwords passwords_;
};

}  // namespace

std::unique_ptr<AccessControl> NewAccessControl(const HandlerOptions& options) {
  KVORUM_CHECK(options.member != nullptr && options.password_executor != nullptr);
  return std::make_unique<AccessControlImpl>(options);
}

}  // namespace kvorum::api_v2
