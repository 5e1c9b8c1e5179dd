#pragma once

#include "sim/history.h"
#include "v2store/event.h"
#include "v2store/store.h"

namespace kvorum::sim {

/// What the store answered, into `op`, which is answered by that.
void NoteV2Answer(const v2store::Result& result, V2Operation* op);

/// An event as it stands in a history.
V2Event NoteOf(const v2store::Event& event, Instant seen);

}  // namespace kvorum::sim
