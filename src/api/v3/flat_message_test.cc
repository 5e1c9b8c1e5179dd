#include "api/v3/flat_message.h"

#include <array>

#include "gtest/gtest.h"
#include "proto/rpc.pb.h"
#include "rapidcheck/gtest.h"

namespace kvorum::api_v3 {
namespace {

using enum FieldKind;
constexpr std::array kPut = {kBytes, kBytes, kInt64, kBool, kBool, kBool};
using Values = std::array<FieldValue, kPut.size()>;

Form Parse(std::string_view message, Values* values) {
  *values = {};
  return ParseFlat(message, kPut, *values);
}

etcdserverpb::PutRequest AnyPut() {
  etcdserverpb::PutRequest put;
  put.set_key(*rc::gen::arbitrary<std::string>());
  put.set_value(*rc::gen::arbitrary<std::string>());
  put.set_lease(*rc::gen::arbitrary<int64_t>());
  put.set_prev_kv(*rc::gen::arbitrary<bool>());
  put.set_ignore_value(*rc::gen::arbitrary<bool>());
  put.set_ignore_lease(*rc::gen::arbitrary<bool>());
  return put;
}

RC_GTEST_PROP(ApiV3FlatMessage, ReadsWhatTheGeneratedClassWrites, ()) {
  const etcdserverpb::PutRequest put = AnyPut();
  const std::string encoded = put.SerializeAsString();
  Values v;
  RC_ASSERT(Parse(encoded, &v) == Form::kCanonical);
  RC_ASSERT(v[0].bytes == put.key());
  RC_ASSERT(v[1].bytes == put.value());
  RC_ASSERT(static_cast<int64_t>(v[2].number) == put.lease());
  RC_ASSERT((v[3].number == 1) == put.prev_kv());
  RC_ASSERT(EncodeFlat(kPut, v) == encoded);
}

RC_GTEST_PROP(ApiV3FlatMessage, CanonicalIsWhatItWouldHaveWritten, ()) {
  // Two messages after each other repeat fields; a byte changed may do anything.
  std::string encoded = AnyPut().SerializeAsString();
  if (*rc::gen::arbitrary<bool>()) encoded += AnyPut().SerializeAsString();
  if (!encoded.empty()) {
    encoded[*rc::gen::inRange<size_t>(0, encoded.size())] = *rc::gen::arbitrary<char>();
  }
  Values v;
  const Form form = Parse(encoded, &v);
  if (form == Form::kMalformed) return;
  RC_ASSERT((EncodeFlat(kPut, v) == encoded) == (form == Form::kCanonical));
}

TEST(ApiV3FlatMessage, TellsOtherFormsFromTheCanonicalOne) {
  struct Case {
    const char* what;
    std::string_view message;
    Form form;
  };
  using namespace std::string_view_literals;
  const Case cases[] = {
      {"canonical", "\x0a\x01k\x12\x01v\x18\x05"sv, Form::kCanonical},
      {"empty", ""sv, Form::kCanonical},
      {"out of order", "\x12\x01v\x0a\x01k"sv, Form::kOther},
      {"twice", "\x0a\x01k\x0a\x01j"sv, Form::kOther},
      {"empty bytes", "\x0a\x01k\x12\x00"sv, Form::kOther},
      {"zero", "\x0a\x01k\x18\x00"sv, Form::kOther},
      {"a true that is not 1", "\x0a\x01k\x20\x02"sv, Form::kOther},
      {"padded number", "\x0a\x01k\x18\x85\x00"sv, Form::kOther},
      {"padded length", "\x0a\x81\x00k"sv, Form::kOther},
      {"unknown field", "\x0a\x01k\x78\x01"sv, Form::kOther},
      {"wrong type", "\x08\x01"sv, Form::kMalformed},
      {"cut off", "\x0a\x05k"sv, Form::kMalformed},
      {"group", "\x0b\x0c"sv, Form::kMalformed},
  };
  for (const Case& c : cases) {
    Values v;
    EXPECT_EQ(Parse(c.message, &v), c.form) << c.what;
  }
}

TEST(ApiV3FlatMessage, TheLastOfTwoCounts) {
  Values v;
  Parse("\x0a\x01k\x0a\x01j", &v);
  EXPECT_EQ(v[0].bytes, "j");
}

}  // namespace
}  // namespace kvorum::api_v3
