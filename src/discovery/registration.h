#pragma once

#include <string>
#include <vector>

#include "base/ids.h"

namespace kvorum::discovery {

/// What a member says of itself to a discovery service.
struct Registration {
  MemberId id;  ///< of its name and URLs alone, under the service's token
  std::string name;
  std::vector<std::string> peer_urls;

  /// "name=url,name=url2", sorted.
  std::string Text() const;
};

}  // namespace kvorum::discovery
