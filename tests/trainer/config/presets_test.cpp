// The presets of configs/: all load, and are the systems that their comments describe.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "tests/trainer/config/config_text.h"
#include "trainer/config/model_text.h"
#include "trainer/run/estimate.h"

namespace ropewalk {
namespace {

using Mask = LayerKind::Mask;
using Position = LayerKind::Position;
using QkNorm = LayerKind::QkNorm;

const std::filesystem::path kFolder = ROPEWALK_CONFIGS;

// A preset that starts from a checkpoint has no model; it is for Command R7B, imported.
Config preset(const std::string& name) {
  const std::string text = read_config_file(kFolder / (name + ".textproto"));
  CheckpointModel start;
  if (const std::string from = outline_of(text, name, {}).start_from; !from.empty())
    start = {.checkpoint = from,
             .text = model_group_of(read_config_file(kFolder / "command_r7b.textproto"), 0, "command_r7b"),
             .is_start_from = true};
  return parse_config(text, name, {}, std::nullopt, 0, start);
}

LayerKind rope(double theta, QkNorm norm = QkNorm::kOff) { return {Mask::kFull, 0, Position::kRope, theta, norm}; }
LayerKind window(int64_t keys, double theta) { return {Mask::kSliding, keys, Position::kRope, theta, QkNorm::kOff}; }
const LayerKind kNope{};

// Repeats three layers of one kind and a full-attention layer without positions, up to the last layer.
std::vector<LayerKind> three_to_one(const LayerKind& kind, size_t layers) {
  std::vector<LayerKind> out;
  for (size_t i = 0; i < layers; ++i) out.push_back(i % 4 == 3 ? kNope : kind);
  return out;
}

TEST(Presets, AllLoadAndResolveToThemselves) {
  std::set<std::string> directories;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() != ".textproto") continue;
    const Config config = preset(entry.path().stem().string());
    EXPECT_EQ(parse_config(config.resolved_text, "again", {}, std::nullopt).resolved_text, config.resolved_text);
    EXPECT_TRUE(directories.insert(config.output.directory).second)
        << entry.path() << " writes where another preset does";
    EXPECT_EQ(config.output.directory, "runs/" + entry.path().stem().string());
    std::ifstream in(entry.path());
    std::string line;
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(std::getline(in, line) && line.starts_with("# ")) << entry.path();
  }
  EXPECT_GE(directories.size(), 11u);
}

TEST(Presets, AreTheSystemsOfThePaper) {
  const std::pair<const char*, std::vector<LayerKind>> systems[] = {
      {"rope", std::vector<LayerKind>(8, rope(10'000))},
      {"qk_norm", std::vector<LayerKind>(8, rope(10'000, QkNorm::kLayerNorm))},
      {"nope", std::vector<LayerKind>(8, kNope)},
      {"rnope_10k", three_to_one(rope(10'000), 8)},
      {"rnope_100k", three_to_one(rope(100'000), 8)},
      {"rnope_2m", three_to_one(rope(2'000'000), 8)},
      {"rnope_4m", three_to_one(rope(4'000'000), 8)},
      {"rnope_10k_swa", three_to_one(window(128, 10'000), 8)},
      {"rnope_swa", three_to_one(window(128, 50'000), 8)},
  };
  for (const auto& [name, layers] : systems) EXPECT_EQ(preset(name).model.layers, layers) << name;
}

// They differ only in the kinds of their layers, so that their losses can be compared.
TEST(Presets, OfThePaperShareTheirSizes) {
  const auto without_layers = [](Config config) {
    config.output.directory.clear();
    std::string rest;
    for (size_t begin = 0; begin < config.resolved_text.size();) {
      const size_t end = config.resolved_text.find('\n', begin) + 1;
      const std::string line = config.resolved_text.substr(begin, end - begin);
      const bool of_layer = line.starts_with("    ") || line.starts_with("  pattern {") || line == "  }\n";
      if (!of_layer && line.find("directory") == std::string::npos) rest += line;
      begin = end;
    }
    return rest;
  };
  const std::string expected = without_layers(preset("rnope_swa"));
  EXPECT_NE(expected.find("width: 256"), std::string::npos);
  for (const char* name :
       {"rope", "qk_norm", "nope", "rnope_10k", "rnope_100k", "rnope_2m", "rnope_4m", "rnope_10k_swa"})
    EXPECT_EQ(without_layers(preset(name)), expected) << name;
}

// A plan is accurate up to some 50 MiB per rank (tests/equivalence/plan_test.cpp, tests/launch/plan_test.py).
TEST(Presets, LongSequencesFitFourRanks) {
  for (const auto& [name, gib] : {std::pair{"long_65k", 12}, {"long_262k", 8}}) {
    const Config config = preset(name);
    EXPECT_EQ(config.parallel.mesh.size(), 4);
    int64_t bytes = 0;
    for (int rank = 0; rank < 4; ++rank) bytes += estimate_run(config, rank).memory.total() + (50 << 20);
    EXPECT_LT(bytes, int64_t{gib} << 30) << name;
  }
}

TEST(Presets, ContextExtensionGrowsLengthsAndBases) {
  const Config config = preset("context_extension");
  EXPECT_EQ(config.model.layers, three_to_one(rope(10'000), 4));
  const std::vector<Stage>& stages = config.training.stages;
  ASSERT_EQ(stages.size(), 3u);
  for (size_t i = 1; i < stages.size(); ++i) {
    EXPECT_EQ(stages[i].sequence_length, 4 * stages[i - 1].sequence_length);
    EXPECT_GT(stages[i].theta.value_or(0), stages[i - 1].theta.value_or(10'000));
    EXPECT_EQ(stages[i].prefix, preset("quickstart").training.stages[0].prefix);
  }
}

TEST(Presets, SecondStageRaisesTheBaseOnOtherData) {
  const Config config = preset("second_stage");
  EXPECT_EQ(config.model.layers, three_to_one(rope(10'000), 4));
  const std::vector<Stage>& stages = config.training.stages;
  ASSERT_EQ(stages.size(), 3u);
  for (size_t i = 1; i < stages.size(); ++i) {
    EXPECT_EQ(stages[i].theta, 2'000'000);
    EXPECT_NE(stages[i].prefix, stages[0].prefix);
    EXPECT_EQ(stages[i].prefix, stages[1].prefix);
  }
  EXPECT_EQ(stages[0].sequence_length, 8192);
  EXPECT_EQ(stages[1].sequence_length, 8192);
  EXPECT_EQ(stages[2].sequence_length, 65'536);
}

TEST(Presets, CommandR7bHasItsPublishedShape) {
  const ModelConfig model = preset("command_r7b").model;
  EXPECT_EQ(model.layers, three_to_one(window(4096, 50'000), 32));
  const int64_t attention = model.width * 2 * (model.query_heads + model.key_heads) * model.head_size;
  const int64_t block = model.width + attention + 3 * model.width * model.hidden;
  EXPECT_EQ(32 * block + model.width + model.vocabulary * model.width, 8'028'033'024);
  EXPECT_EQ(model.logit_scale, 0.25);
}

}  // namespace
}  // namespace ropewalk
