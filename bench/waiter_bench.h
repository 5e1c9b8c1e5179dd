#pragma once

#include "options.h"

namespace kvorum::bench {

// Long polls of the v2 API, each on a connection of its own, as its clients hold them. Plain sockets and one
// thread: what a waiter costs here is as little as can be.

/// --watchers long polls of one key: puts it --events times, each time as soon as every waiter has come back,
/// and prints how long it took until the last one had its event.
void WakeWaiters(const Options& options);

/// Opens --watchers long polls of one key each, says "ready", and holds them until standard input ends.
void HoldWaiters(const Options& options);

}  // namespace kvorum::bench
