#pragma once

#include "http/loop.h"
#include "options.h"

namespace kvorum::bench {

/// --watchers watchers of one key, over --watch-streams streams: puts --events events, one after another as
/// soon as every watcher has had the last, and prints the rate of deliveries.
void WatchFanout(http::Loop& loop, const Options& options);

/// --keys keys with one watcher each: puts --events keys at random, --streams at once, and prints the same.
void WatchKeys(http::Loop& loop, const Options& options);

/// Opens --watchers idle watchers over --keys keys, says "ready", and holds them until standard input ends.
void HoldWatchers(http::Loop& loop, const Options& options);

/// Grants --leases leases of an hour, prints the rate, says "ready", and holds until standard input ends.
void HoldLeases(http::Loop& loop, const Options& options);

}  // namespace kvorum::bench
