#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "proto/rpc.pb.h"
#include "proxy/grpc/range_cache.h"
#include "proxy/grpc/upstream.h"

// What the proxy does to the messages of the KV service.

namespace kvorum::proxy_grpc {

/// Puts the namespace before every key, in nested transactions too. False where a key is empty, which the
/// cluster could no longer tell.
bool AddPrefix(const KeyPrefix& prefix, etcdserverpb::RangeRequest* request);
bool AddPrefix(const KeyPrefix& prefix, etcdserverpb::PutRequest* request);
bool AddPrefix(const KeyPrefix& prefix, etcdserverpb::DeleteRangeRequest* request);
bool AddPrefix(const KeyPrefix& prefix, etcdserverpb::TxnRequest* request);

/// Takes it off the keys of a reply.
void StripPrefix(const KeyPrefix& prefix, etcdserverpb::RangeResponse* response);
void StripPrefix(const KeyPrefix& prefix, etcdserverpb::PutResponse* response);
void StripPrefix(const KeyPrefix& prefix, etcdserverpb::DeleteRangeResponse* response);
void StripPrefix(const KeyPrefix& prefix, etcdserverpb::TxnResponse* response);

/// What a transaction may write, whichever way it goes; empty: it only reads.
std::vector<KeyRange> WrittenRanges(const etcdserverpb::TxnRequest& request);
/// Whether it only reads, and is content with what one member has.
bool IsSerializable(const etcdserverpb::TxnRequest& request);

/// The revision in the header of an encoded reply of the v3 API; 0: none.
int64_t HeaderRevision(std::string_view response);

}  // namespace kvorum::proxy_grpc
