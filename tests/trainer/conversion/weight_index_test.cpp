#include "trainer/conversion/weight_index.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/support/expect_error.h"

namespace ropewalk {
namespace {

TEST(WeightIndex, IsReadAsItWasWritten) {
  const WeightMap files = {{"b.weight", "model-00002-of-00002.safetensors"},
                           {"a.weight", "model-00001-of-00002.safetensors"}};
  const std::string text = weight_index_text(files, 1234, 617);
  EXPECT_EQ(parse_weight_index(text), files);
  EXPECT_NE(text.find("\"total_size\": 1234"), std::string::npos) << text;
  EXPECT_NE(text.find("\"total_parameters\": 617"), std::string::npos) << text;
  EXPECT_EQ(parse_weight_index(R"({"weight_map":{"a":"x.safetensors"},"other":[1]})"),
            (WeightMap{{"a", "x.safetensors"}}));
}

TEST(WeightIndex, RefusesNamesThatLeaveTheDirectory) {
  for (const char* name :
       {"../x.safetensors", "/abs.safetensors", "a/b.safetensors", R"(a\\b.safetensors)", ".x.safetensors",
        ".safetensors", "", "x.bin", "x.safetensors.", R"(x\u0000.safetensors)", "x.safetensors/"})
    expect_error<DataError>(
        [&] { parse_weight_index(fmt::format(R"({{"weight_map":{{"t":"{}"}}}})", name)); },
        {"the file of tensor \"t\" is", "a name like model-00001-of-00002.safetensors is expected"});
  const std::string longest(243, 'x');  // with the extension 255 bytes
  EXPECT_EQ(parse_weight_index(fmt::format(R"({{"weight_map":{{"t":"{}.safetensors"}}}})", longest)).size(), 1u);
  EXPECT_THROW(parse_weight_index(fmt::format(R"({{"weight_map":{{"t":"x{}.safetensors"}}}})", longest)), DataError);
}

TEST(WeightIndex, RefusesOtherForms) {
  for (const char* json :
       {"[]", "{}", "3", R"({"weight_map":[]})", R"({"weight_map":"x.safetensors"})", R"({"weight_map":null})"})
    expect_error<DataError>([&] { parse_weight_index(json); }, {"it has no object weight_map"});
  expect_error<DataError>([&] { parse_weight_index(R"({"weight_map":{}})"); }, {"its weight_map is empty"});
  expect_error<DataError>([&] { parse_weight_index(R"({"weight_map":{"t":7}})"); },
                          {"the file of tensor \"t\" is \"7\""});
  expect_error<DataError>([&] { parse_weight_index(R"({"weight_map":{"t":"a.safetensors","t":"b.safetensors"}})"); },
                          {"the key \"t\" comes twice in one object"});
  expect_error<DataError>([&] { parse_weight_index("{\"weight_map\":"); }, {"no JSON at byte"});
}

// Of as many tensors as the largest possible model has.
TEST(WeightIndex, IsReadAndWrittenInLinearTime) {
  WeightMap files;
  for (int i = 0; i < 100'000; ++i)
    files[fmt::format("model.layers.{}.self_attn.q_proj.weight", i)] = fmt::format("model-{:05}.safetensors", i % 9);
  EXPECT_EQ(parse_weight_index(weight_index_text(files, 1, 1)), files);
}

}  // namespace
}  // namespace ropewalk
