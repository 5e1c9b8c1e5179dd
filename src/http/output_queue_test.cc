#include "http/output_queue.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "http/http2_stream.h"

namespace kvorum::http {
namespace {

std::string Content(const OutputQueue& queue) {
  iovec pieces[1024];
  std::string content;
  const int count = queue.Gather(pieces, 1024);
  for (int i = 0; i < count; ++i) content.append(static_cast<char*>(pieces[i].iov_base), pieces[i].iov_len);
  return content;
}

TEST(HttpOutputQueue, RefersToLargeSharedBytesAndCopiesSmallOnes) {
  OutputQueue queue;
  const Bytes large = Bytes::Copy(std::string(8192, 'x'));
  const Bytes small = Bytes::Copy("small");
  queue.Append(small, 0, 5);
  queue.Append(large, 100, 8000);
  iovec pieces[4];
  ASSERT_EQ(queue.Gather(pieces, 4), 2);
  EXPECT_NE(pieces[0].iov_base, small.data());
  EXPECT_EQ(pieces[1].iov_base, large.data() + 100);
}

TEST(HttpOutputQueue, SmallPiecesBecomeOneVector) {
  OutputQueue queue;
  for (int i = 0; i < 100; ++i) queue.Append("piece");
  iovec pieces[4];
  EXPECT_EQ(queue.Gather(pieces, 4), 1);
}

RC_GTEST_PROP(HttpOutputQueue, IsAQueueOfBytes, ()) {
  OutputQueue queue;
  std::string model;
  const int steps = *rc::gen::inRange(1, 60);
  for (int i = 0; i < steps; ++i) {
    const int action = *rc::gen::inRange(0, 3);
    const auto size = static_cast<size_t>(*rc::gen::inRange(0, 20000));
    const std::string data(size, static_cast<char>('a' + i % 26));
    if (action == 0) {
      queue.Append(data);
      model += data;
    } else if (action == 1) {
      const size_t offset = size / 3;
      queue.Append(Bytes::Copy(data), offset, size - offset);
      model += data.substr(offset);
    } else {
      const size_t n = std::min(size, model.size());
      queue.Consume(n);
      model.erase(0, n);
    }
    queue.CheckInvariants();
    RC_ASSERT(queue.size() == model.size());
    RC_ASSERT(Content(queue) == model);
  }
}

RC_GTEST_PROP(HttpBytesQueue, GivesItsBytesInAnyPortions, ()) {
  BytesQueue queue;
  OutputQueue out;
  std::string model;
  for (int i = 0; i < 50; ++i) {
    const std::string data(static_cast<size_t>(*rc::gen::inRange(0, 3000)), static_cast<char>('a' + i % 26));
    queue.Push(Bytes::Copy(data));
    model += data;
    queue.PopInto(&out, static_cast<size_t>(*rc::gen::inRange(0, static_cast<int>(queue.size()) + 1)));
  }
  queue.PopInto(&out, queue.size());
  RC_ASSERT(queue.size() == 0u);
  RC_ASSERT(Content(out) == model);
}

}  // namespace
}  // namespace kvorum::http
