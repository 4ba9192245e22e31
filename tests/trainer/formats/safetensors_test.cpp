// Compares with the bytes that the format's own library writes, and reads hostile and damaged files.
#include "trainer/formats/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/support/temporary_directory.h"
#include "trainer/files/crc32c.h"

namespace ropewalk {
namespace {

// safetensors.numpy.save({"b": float32 [[1, 2], [3, 4]], "a": float64 [1.5, -2]}, {"format": "pt"}), safetensors 0.6.
const std::string kGoldenJson =
    R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F64","shape":[2],"data_offsets":[0,16]},)"
    R"("b":{"dtype":"F32","shape":[2,2],"data_offsets":[16,32]}} )";
const std::string kGoldenHeader = std::string("\x90\0\0\0\0\0\0\0", 8) + kGoldenJson;
const std::string kGoldenData(
    "\0\0\0\0\0\0\xf8\x3f\0\0\0\0\0\0\0\xc0"
    "\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40",
    32);

std::string length_prefix(uint64_t length) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes;
}

class SafetensorsFile : public testing::Test {
 protected:
  SafetensorsHeader read(const std::string& bytes) {
    write_file(directory_ / "file", bytes);
    const InputFile file(real_file_system(), directory_ / "file");
    return read_safetensors_header(file);
  }
  // The message with which the reader refuses these bytes; empty if it accepts them.
  std::string refusal(const std::string& bytes) {
    try {
      read(bytes);
      return "";
    } catch (const CheckpointError& error) {
      return error.what();
    }
  }
  // The same for this header, followed by `data_bytes` of data.
  std::string refusal_of(const std::string& json, size_t data_bytes = 0) {
    return refusal(length_prefix(json.size()) + json + std::string(data_bytes, 'x'));
  }
  void expect_refused(const std::string& json, size_t data_bytes, const std::string& because) {
    const std::string message = refusal_of(json, data_bytes);
    EXPECT_NE(message.find(because), std::string::npos) << json.substr(0, 200) << "\n says: " << message;
  }

  TemporaryDirectory directory_;
};

TEST(SafetensorsWriter, WritesTheBytesOfTheFormatsOwnLibrary) {
  const std::vector<SafetensorsTensor> tensors = {{"a", DType::kF64, {2}}, {"b", DType::kF32, {2, 2}}};
  EXPECT_EQ(safetensors_header(tensors, {{"format", "pt"}}), kGoldenHeader);
}

TEST(SafetensorsWriter, RefusesToMisalign) {
  const std::vector<SafetensorsTensor> tensors = {{"a", DType::kF32, {1}}, {"b", DType::kF64, {1}}};
  EXPECT_THROW(safetensors_header(tensors, {}), std::logic_error);
}

TEST_F(SafetensorsFile, ReadsTheBytesOfTheFormatsOwnLibrary) {
  const SafetensorsHeader header = read(kGoldenHeader + kGoldenData);
  EXPECT_EQ(header.data_begin, 152);
  EXPECT_EQ(header.crc32c, crc32c(kGoldenHeader));
  EXPECT_EQ(header.metadata, (SafetensorsMetadata{{"format", "pt"}}));
  ASSERT_EQ(header.entries.size(), 2u);
  EXPECT_EQ(header.entries[0].name, "a");
  EXPECT_EQ(header.entries[0].dtype, "F64");
  EXPECT_EQ(header.entries[0].shape, (std::vector<int64_t>{2}));
  EXPECT_EQ(header.entries[1].shape, (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(header.entries[1].begin, 16);
  EXPECT_EQ(header.entries[1].end, 32);
}

TEST_F(SafetensorsFile, ReadsWhatItWrites) {
  const std::vector<SafetensorsTensor> tensors = {{"w[0:2,3:5]", DType::kF64, {2, 2}},
                                                  {"quote\"back\\slash\n\u00e9", DType::kF32, {3}},
                                                  {"none", DType::kBF16, {4, 0}}};
  const SafetensorsHeader header = read(safetensors_header(tensors, {{"a", "1"}, {"b", "\""}}) + std::string(44, 'x'));
  EXPECT_EQ(header.data_begin % 8, 0);
  EXPECT_EQ(header.metadata, (SafetensorsMetadata{{"a", "1"}, {"b", "\""}}));
  ASSERT_EQ(header.entries.size(), tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(header.entries[i].name, tensors[i].name);
    EXPECT_EQ(dtype_of_safetensors(header.entries[i].dtype), tensors[i].dtype);
    EXPECT_EQ(header.entries[i].shape, tensors[i].shape);
  }
}

TEST_F(SafetensorsFile, TakesWhatTheFormatAllows) {
  EXPECT_EQ(refusal_of("{}"), "");
  EXPECT_EQ(refusal_of("{}      "), "");
  EXPECT_EQ(refusal_of(R"({"__metadata__":{}})"), "");
  EXPECT_EQ(refusal_of(R"({"scalar":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4), "");
  EXPECT_EQ(refusal_of(R"({"none":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]}})"), "");
  EXPECT_EQ(refusal_of(R"({"half bytes":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}})", 1), "");
  EXPECT_EQ(
      refusal_of(R"( {"dtype":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}})").find("'{'") != std::string::npos,
      true);
  EXPECT_EQ(refusal_of(R"({"dtype":{ "data_offsets" :[0,1],"shape":[1], "dtype":"I8"}})", 1), "");
  EXPECT_EQ(
      refusal_of(
          R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
          2),
      "");
}

TEST_F(SafetensorsFile, IsRefusedWhenTruncatedAnywhereOrTooLong) {
  const std::string whole = kGoldenHeader + kGoldenData;
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) EXPECT_NE(refusal(whole.substr(0, bytes)), "") << bytes;
  EXPECT_NE(refusal(whole + "x").find("1 bytes after the last tensor"), std::string::npos);
}

TEST_F(SafetensorsFile, IsRefusedForItsHeaderLength) {
  EXPECT_NE(refusal(length_prefix(100'000'001) + "{}").find("at most 100000000"), std::string::npos);
  for (const uint64_t length :
       {uint64_t{3}, uint64_t{100'000'000}, uint64_t{1} << 31, uint64_t{1} << 63, ~uint64_t{0}, ~uint64_t{7}}) {
    EXPECT_NE(refusal(length_prefix(length) + "{}"), "") << length;
  }
}

TEST_F(SafetensorsFile, IsRefusedForDuplicateKeys) {
  const std::string a = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  expect_refused(R"({"a":)" + a + R"(,"a":)" + a + "}", 1, R"(the name "a" comes twice)");
  expect_refused(R"({"a":)" + a + R"(,"\u0061":)" + a + "}", 1, R"(the name "a" comes twice)");
  expect_refused(R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1,
                 R"("dtype" comes twice in "a")");
  expect_refused(R"({"__metadata__":{"k":"1","k":"1"}})", 0, R"("k" comes twice)");
  expect_refused(R"({"__metadata__":{},"__metadata__":{}})", 0, "comes twice");
}

TEST_F(SafetensorsFile, IsRefusedForHolesOverlapsAndDisorder) {
  const auto two = [](const char* first, const char* second) {
    return fmt::format(
        R"({{"a":{{"dtype":"U8","shape":[4],"data_offsets":{}}},"b":{{"dtype":"U8","shape":[4],"data_offsets":{}}}}})",
        first, second);
  };
  EXPECT_EQ(refusal_of(two("[0,4]", "[4,8]"), 8), "");
  expect_refused(two("[0,4]", "[5,9]"), 9, "begin at byte 5; the tensor before ends at 4");
  expect_refused(two("[0,4]", "[3,7]"), 7, "begin at byte 3; the tensor before ends at 4");
  expect_refused(two("[0,4]", "[0,4]"), 4, "begin at byte 0; the tensor before ends at 4");
  expect_refused(two("[1,5]", "[5,9]"), 9, "begin at byte 1; the tensor before ends at 0");
  expect_refused(two("[0,4]", "[8,4]"), 8, "end before they begin");
  expect_refused(two("[0,4]", "[4,8]"), 7, "the file has 7 bytes of data");
  expect_refused(two("[0,4]", "[4,8]"), 9, "1 bytes after the last tensor");
}

TEST_F(SafetensorsFile, IsRefusedForNumbers) {
  const auto tensor = [](const char* shape, const char* offsets, const char* dtype = "U8") {
    return fmt::format(R"({{"a":{{"dtype":"{}","shape":{},"data_offsets":{}}}}})", dtype, shape, offsets);
  };
  EXPECT_EQ(refusal_of(tensor("[4]", "[0,4]"), 4), "");
  expect_refused(tensor("[-4]", "[0,4]"), 4, "a negative number, -4");
  expect_refused(tensor("[-0]", "[0,4]"), 4, "a negative number");
  expect_refused(tensor("[4]", "[-4,0]"), 4, "a negative number");
  expect_refused(tensor("[4.0]", "[0,4]"), 4, "no 63-bit integer");
  expect_refused(tensor("[4e0]", "[0,4]"), 4, "no 63-bit integer");
  expect_refused(tensor("[18446744073709551616]", "[0,4]"), 4, "no 63-bit integer");
  expect_refused(tensor("[9223372036854775808]", "[0,4]"), 4, "beyond 63 bits");
  expect_refused(tensor("[4]", "[0,9223372036854775807]"), 4, "the file has 4 bytes");
  expect_refused(tensor("[5]", "[0,4]"), 4, "need 5");
  expect_refused(tensor("[4294967296,4294967296]", "[0,4]"), 4, "more elements than can be counted");
  expect_refused(tensor("[4611686018427387904]", "[0,4]", "F64"), 4, "more elements than can be counted");
  expect_refused(tensor("[4611686018427387904,4,0]", "[0,0]"), 0, "more elements than can be counted");
  expect_refused(tensor("[3]", "[0,1]", "F4"), 1, "does not end at a byte");
  expect_refused(tensor("[1]", "[0,4]", "f32"), 4, "unknown dtype");
  expect_refused(tensor("[1]", "[0,4]", ""), 4, "unknown dtype");
  expect_refused(tensor("[4]", "[4]"), 4, "1 data_offsets");
  expect_refused(tensor("[4]", "[0,4,4]"), 4, "3 data_offsets");
}

TEST_F(SafetensorsFile, IsRefusedForItsForm) {
  const std::string a = R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  for (const std::string& json : {std::string(),
                                  std::string("[]"),
                                  std::string("null"),
                                  std::string("{"),
                                  std::string("{}}"),
                                  std::string("{} {}"),
                                  std::string("\xef\xbb\xbf{}"),
                                  std::string("{/* a comment */}"),
                                  std::string("{\"a\":\"\xff\"}"),
                                  std::string("{,}"),
                                  std::string(R"({"a":1})"),
                                  std::string(R"({"a":"b"})"),
                                  std::string(R"({"a":null})"),
                                  std::string(R"({"a":[]})"),
                                  std::string(R"({"a":{}})"),
                                  std::string(R"({"a":{"dtype":"U8","shape":[0]}})"),
                                  std::string(R"({"a":{"dtype":["U8"],"shape":[0],"data_offsets":[0,0]}})"),
                                  std::string(R"({"a":{"dtype":"U8","shape":0,"data_offsets":[0,0]}})"),
                                  std::string(R"({"a":{"dtype":"U8","shape":[[0]],"data_offsets":[0,0]}})"),
                                  std::string(R"({"a":{"dtype":"U8","shape":["0"],"data_offsets":[0,0]}})"),
                                  std::string(R"({"a":{"dtype":"U8","shape":[true],"data_offsets":[0,0]}})"),
                                  std::string(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":{"0":0}}})"),
                                  std::string(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"more":1}})"),
                                  std::string(R"({"__metadata__":{"a":1}})"),
                                  std::string(R"({"__metadata__":{"a":{}}})"),
                                  std::string(R"({"__metadata__":"a"})"),
                                  std::string(R"({"__metadata__":{"a":["b"]}})")}) {
    EXPECT_NE(refusal_of(json), "") << json;
  }
  // The parser takes a zero byte for the end of its input, and would ignore what follows.
  expect_refused(std::string("{}\0{hidden", 10), 0, "a zero byte");
  expect_refused("{" + a + std::string("}\0", 2), 1, "a zero byte");
}

TEST_F(SafetensorsFile, IsRefusedForDepthWithoutEffort) {
  for (const std::string& opening : {std::string("["), std::string(R"({"a":)"), std::string(R"({"a":[)")}) {
    std::string json = R"({"x":{"dtype":"U8","shape":)";
    while (json.size() < 3'000'000) json += opening;
    EXPECT_NE(refusal_of(json), "") << opening;
  }
}

TEST_F(SafetensorsFile, NamesWithControlCharactersAreShownHarmlessly) {
  const std::string message = refusal_of("{\"\\u001b[2J\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2);
  EXPECT_NE(message.find("\"\\x1b[2J\""), std::string::npos) << message;
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
}

// Whatever value replaces one byte, the reader either accepts the file or throws its own error.
TEST_F(SafetensorsFile, SurvivesEveryByteAtEveryPlaceOfTheHeader) {
  int taken = 0;
  for (size_t at = 0; at < kGoldenJson.size(); ++at) {
    std::string json = kGoldenJson;
    for (int byte = 0; byte < 256; ++byte) {
      json[at] = static_cast<char>(byte);
      try {
        parse_safetensors_header(json, 32);
        ++taken;
      } catch (const CheckpointError&) {
      }
    }
  }
  EXPECT_GT(taken, 0);  // changed names, and changed padding
}

}  // namespace
}  // namespace ropewalk
