#pragma once

#include "options.h"

namespace kvorum::bench {

/// Serves HTTP/1.1 at --target until the process is told to end, and does nothing for it: it finds where a
/// request ends and sends an answer that was made before, as long as one of the v2 API. A GET with "wait" in
/// its URL gets its head at once and the rest when somebody puts anything. What is measured of a server with
/// a load generator beside it cannot be much more than what is measured of this one.
///
/// With --log, puts are answered as a server may that has to keep them: the bytes of all that came in one
/// turn of a worker are appended to a file and synced once, then all are answered. Each worker has a file of
/// 64 MiB of its own, the option's value with ".0", ".1" … behind it, used again from its beginning.
///
/// It trusts its clients: a head has to fit a read, and what it means is not looked at.
[[noreturn]] void ServeNothing(const Options& options);

}  // namespace kvorum::bench
