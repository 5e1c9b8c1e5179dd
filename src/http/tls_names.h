#pragma once

#include <string>

#include "absl/functional/any_invocable.h"
#include "http/byte_stream.h"

namespace kvorum::http {

/// Whether the other side comes from where its certificate says that it is (reference: peer-protocol.md §8):
/// its address is one of the certificate's, or one of the certificate's names leads to it, or is a name of
/// its ("*.example.com" by the name's end). A certificate without either is anybody's. `remote`:
/// "10.0.0.1:41234".
///
/// `done` is called once on the loop, perhaps inside this call, and not at all once the loop is gone; with
/// the reason against it, in etcd's words, or an empty text. On the loop only.
void CheckCertificateNames(Loop& loop, const TlsPeer& peer, const std::string& remote,
                           absl::AnyInvocable<void(std::string objection)> done);

}  // namespace kvorum::http
