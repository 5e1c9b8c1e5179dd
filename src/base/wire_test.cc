#include "base/wire.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "rapidcheck.h"
#include "rapidcheck/gtest.h"

namespace kvorum::wire {
namespace {

std::string Varint(uint64_t v) {
  std::string out;
  AppendVarint(out, v);
  return out;
}

TEST(BaseWire, WritesVarints) {
  EXPECT_EQ(Varint(0), std::string(1, '\0'));
  EXPECT_EQ(Varint(127), "\x7f");
  EXPECT_EQ(Varint(300), "\xac\x02");
  EXPECT_EQ(Varint(UINT64_MAX), "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
}

TEST(BaseWire, KnowsTheSizeAtEveryBitWidth) {
  for (int bits = 0; bits < 64; ++bits) {
    const uint64_t low = uint64_t{1} << bits;
    for (uint64_t v : {low - 1, low, low + 1}) EXPECT_EQ(VarintSize(v), Varint(v).size()) << v;
  }
  EXPECT_EQ(VarintSize(UINT64_MAX), kMaxVarintBytes);
}

RC_GTEST_PROP(BaseWire, ReadsTheVarintsItWrites, (uint64_t v, const std::string& tail)) {
  const std::string encoded = Varint(v) + tail;
  std::string_view in = encoded;
  uint64_t got = 0;
  RC_ASSERT(TakeVarint(&in, &got));
  RC_ASSERT(got == v);
  RC_ASSERT(in == tail);
}

TEST(BaseWire, RefusesBadVarintsUntouched) {
  for (std::string_view bad : {std::string_view(""), std::string_view("\x80"), std::string_view("\xff\xff"),
                               std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
                               std::string_view("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01")}) {
    std::string_view in = bad;
    uint64_t v = 0;
    EXPECT_FALSE(TakeVarint(&in, &v));
    EXPECT_EQ(in, bad);
  }
}

TEST(BaseWire, ReadsEveryKindOfField) {
  std::string message;
  AppendUint(message, 1, 300);
  AppendBytes(message, 2, "two");
  message +=
      "\x19"
      "12345678";  // field 3, fixed64
  message +=
      "\x25"
      "1234";  // field 4, fixed32
  AppendBytes(message, 5, "");

  Reader reader(message);
  Field field;
  ASSERT_TRUE(reader.Next(&field));
  EXPECT_EQ(field.number, 1u);
  EXPECT_EQ(field.varint, 300u);
  ASSERT_TRUE(reader.Next(&field));
  EXPECT_EQ(field.bytes, "two");
  ASSERT_TRUE(reader.Next(&field));
  EXPECT_EQ(field.type, Type::kFixed64);
  EXPECT_EQ(field.varint, 0x3837363534333231u);
  ASSERT_TRUE(reader.Next(&field));
  EXPECT_EQ(field.type, Type::kFixed32);
  EXPECT_EQ(field.varint, 0x34333231u);
  ASSERT_TRUE(reader.Next(&field));
  EXPECT_EQ(field.number, 5u);
  EXPECT_TRUE(field.bytes.empty());
  EXPECT_FALSE(reader.Next(&field));
  EXPECT_TRUE(reader.ok());
}

TEST(BaseWire, StopsAtMalformedFields) {
  for (std::string_view bad : {
           std::string_view("\x08"),  // no value
           std::string_view("\x0a\x05"
                            "abc"),  // shorter than said
           std::string_view("\x09"
                            "1234567"),  // short fixed64
           std::string_view("\x0d"
                            "123"),                       // short fixed32
           std::string_view("\x0b"),                      // a group
           std::string_view("\x0f"),                      // no such wire type
           std::string_view("\x00\x01", 2),               // field number 0
           std::string_view("\xff\xff\xff\xff\x7f\x01"),  // a tag over 32 bits
       }) {
    Reader reader(bad);
    Field field;
    EXPECT_FALSE(reader.Next(&field));
    EXPECT_FALSE(reader.ok());
    EXPECT_FALSE(reader.Next(&field));
  }
}

RC_GTEST_PROP(BaseWire, NeverReadsBeyondTheMessage, (const std::vector<uint8_t>& noise)) {
  const std::string message(noise.begin(), noise.end());
  Reader reader(message);
  for (Field field; reader.Next(&field);) {
    if (field.bytes.empty()) continue;
    RC_ASSERT(field.bytes.data() >= message.data());
    RC_ASSERT(field.bytes.data() + field.bytes.size() <= message.data() + message.size());
  }
}

}  // namespace
}  // namespace kvorum::wire
