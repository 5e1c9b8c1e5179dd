#include "grpc/framing.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "grpc/metadata.h"

namespace kvorum::grpc {
namespace {

std::string Framed(std::string_view message, char flag = 0) {
  std::string framed(kPrefixBytes, '\0');
  WritePrefix(framed.data(), message.size());
  framed[0] = flag;
  return framed.append(message);
}

struct Result {
  absl::Status status;
  std::vector<std::string> messages;
};

Result Read(MessageReader reader, std::string_view data, size_t portion) {
  Result result;
  while (!data.empty() && result.status.ok()) {
    const std::string_view piece = data.substr(0, portion);
    data.remove_prefix(piece.size());
    result.status = reader.Feed(piece, [&](std::string_view message) {
      result.messages.emplace_back(message);
      return true;
    });
  }
  return result;
}

RC_GTEST_PROP(GrpcFraming, MessagesSurviveAnyPortions, (const std::vector<std::string>& messages)) {
  std::string data;
  for (size_t i = 0; i < messages.size(); ++i) {
    data += i % 2 == 0 ? Framed(messages[i]) : Framed(Gzip(messages[i]), 1);
  }
  const Result result = Read(MessageReader(1 << 20, "gzip"), data, *rc::gen::inRange<size_t>(1, 40));
  RC_ASSERT(result.status.ok());
  RC_ASSERT(result.messages == messages);
}

TEST(GrpcFraming, RefusesAMessageOverTheLimitFromItsPrefix) {
  const Result result = Read(MessageReader(10, ""), Framed("12345678901").substr(0, 5), 5);
  EXPECT_EQ(result.status,
            absl::ResourceExhaustedError("grpc: received message larger than max (11 vs. 10)"));
}

TEST(GrpcFraming, RefusesABombWithoutInflatingIt) {
  const std::string bomb = Framed(Gzip(std::string(100 << 20, '\0')), 1);
  const Result result = Read(MessageReader(1 << 20, "gzip"), bomb, bomb.size());
  EXPECT_EQ(result.status, absl::ResourceExhaustedError(
                               "grpc: received message after decompression larger than max 1048576"));
}

TEST(GrpcFraming, TakesAMessageThatInflatesToTheLimit) {
  const std::string data(1 << 16, 'x');
  const Result result = Read(MessageReader(data.size(), "gzip"), Framed(Gzip(data), 1), 100);
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.messages, std::vector<std::string>{data});
}

TEST(GrpcFraming, SaysWhyItCannotRead) {
  EXPECT_EQ(Read(MessageReader(10, ""), Framed("a", 1), 6).status,
            absl::InternalError("grpc: compressed flag set with identity or empty encoding"));
  EXPECT_EQ(Read(MessageReader(10, "snappy"), Framed("a", 1), 6).status,
            absl::UnimplementedError("grpc: Decompressor is not installed for grpc-encoding \"snappy\""));
  EXPECT_EQ(Read(MessageReader(10, ""), Framed("a", 7), 6).status,
            absl::InternalError("grpc: received unexpected payload format 7"));
  EXPECT_EQ(Read(MessageReader(10, "gzip"), Framed("a", 1), 6).status.code(), absl::StatusCode::kInternal);
}

TEST(GrpcFraming, MemoryFollowsWhatCameNotWhatIsPromised) {
  MessageReader reader(1 << 30, "");
  std::string prefix(kPrefixBytes, '\0');
  WritePrefix(prefix.data(), 1 << 29);
  ASSERT_TRUE(reader.Feed(prefix + "abc", [](std::string_view) { return true; }).ok());
  EXPECT_EQ(reader.kept(), 8u);
}

TEST(GrpcFraming, StopsWhenToldTo) {
  MessageReader reader(10, "");
  int count = 0;
  ASSERT_TRUE(reader.Feed(Framed("a") + Framed("b"), [&](std::string_view) { return ++count < 1; }).ok());
  EXPECT_EQ(count, 1);
}

}  // namespace
}  // namespace kvorum::grpc
