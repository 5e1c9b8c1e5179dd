#include "v2store/store.h"

namespace kvorum::v2store {

struct Store::Impl {};

Store::Store(const Clock* /*clock*/) : impl_(std::make_unique<Impl>()) {}
Store::~Store() = default;

Result Store::Apply(const Request& /*request*/) { return Error{}; }

}  // namespace kvorum::v2store
