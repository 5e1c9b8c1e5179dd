#include "grpc/metadata.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace kvorum::grpc {
namespace {

using std::chrono::nanoseconds;

TEST(GrpcMetadata, PercentEncodesWhatIsNotPrintable) {
  EXPECT_EQ(PercentEncode("plain text, even ~"), "plain text, even ~");
  EXPECT_EQ(PercentEncode("100%\n\xc3\xa9"), "100%25%0A%C3%A9");
}

TEST(GrpcMetadata, LeavesBrokenEscapesAlone) { EXPECT_EQ(PercentDecode("50% of %zz %4"), "50% of %zz %4"); }

RC_GTEST_PROP(GrpcMetadata, PercentDecodingReversesEncoding, (const std::string& text)) {
  RC_ASSERT(PercentDecode(PercentEncode(text)) == text);
}

RC_GTEST_PROP(GrpcMetadata, Base64DecodingReversesEncoding, (const std::string& data)) {
  RC_ASSERT(DecodeBase64(EncodeBase64(data)) == data);
}

TEST(GrpcMetadata, Base64TakesPaddingAndRefusesGarbage) {
  EXPECT_EQ(DecodeBase64("YQ=="), "a");
  EXPECT_EQ(DecodeBase64("YQ"), "a");
  EXPECT_EQ(DecodeBase64("Y"), std::nullopt);
  EXPECT_EQ(DecodeBase64("Y*Q="), std::nullopt);
}

TEST(GrpcMetadata, ReadsTimeouts) {
  EXPECT_EQ(ParseTimeout("100m"), std::chrono::milliseconds(100));
  EXPECT_EQ(ParseTimeout("2H"), std::chrono::hours(2));
  EXPECT_EQ(ParseTimeout("99999999H"), nanoseconds(INT64_MAX));
  for (const char* bad : {"", "1", "m", "1x", "-1S", "123456789S", "1 S"}) {
    EXPECT_EQ(ParseTimeout(bad), std::nullopt) << bad;
  }
}

RC_GTEST_PROP(GrpcMetadata, ATimeoutIsNeverWrittenShorter, ()) {
  const nanoseconds timeout(*rc::gen::inRange<int64_t>(0, INT64_MAX / 2));
  const auto read = ParseTimeout(FormatTimeout(timeout));
  RC_ASSERT(read.has_value());
  RC_ASSERT(*read >= timeout);
}

TEST(GrpcMetadata, StatusBecomesTrailers) {
  EXPECT_EQ(StatusTrailers(absl::OkStatus()), (http::Headers{{"grpc-status", "0"}}));
  EXPECT_EQ(StatusTrailers(absl::NotFoundError("a%b")),
            (http::Headers{{"grpc-status", "5"}, {"grpc-message", "a%25b"}}));
}

}  // namespace
}  // namespace kvorum::grpc
