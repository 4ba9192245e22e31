// Which checkpoint a run starts from, and what is read of it.
#include "trainer/run/starting_point.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "trainer/checkpoint/checkpoint_directory.h"
#include "trainer/checkpoint/manifest.h"

namespace ropewalk {
namespace {

std::string model_text(int64_t layers) {
  return fmt::format(
      "model {{\n  layers: {}\n  width: 8\n  hidden: 8\n  query_heads: 2\n  key_heads: 2\n  head_size: 4\n  "
      "vocabulary: 257\n  pattern {{\n    mask: FULL\n  }}\n}}\n",
      layers);
}

// A checkpoint of a model of `layers` layers: its manifest alone, because nothing else may be read.
void write_manifest(const std::filesystem::path& checkpoint, int64_t step, int64_t layers) {
  std::filesystem::create_directories(checkpoint);
  Manifest manifest;
  manifest.progress.step = step;
  manifest.mesh = {1, 1, 1};
  manifest.run.config_text = model_text(layers) + "training { steps: 1 }";
  write_file(checkpoint / kManifestName, manifest_text(manifest));
}

class StartingPointTest : public testing::Test {
 protected:
  StartingPointTest() { write_manifest(base(), 70, 7); }

  std::filesystem::path base() const { return scratch_ / "base/step-00000070"; }
  std::filesystem::path own(int64_t step) const { return checkpoint_path(checkpoints_of(scratch_ / "run"), step); }
  void write_own(int64_t step, int64_t layers) { write_manifest(own(step), step, layers); }
  std::string text(const std::string& model = "") const {
    return fmt::format(
        "{} data {{ prefix: \"text\" sequence_length: 8 }} training {{ steps: 9 start_from: \"{}\" }} "
        "output {{ directory: \"{}\" }}",
        model, base().string(), (scratch_ / "run").string());
  }
  StartingPoint find(std::optional<int64_t> step = std::nullopt, const std::string& model = "") const {
    return find_starting_point(text(model), "run.textproto", {}, step);
  }
  // The number of layers of the configuration that the starting point completes.
  size_t layers(const StartingPoint& from) const {
    return parse_config(text(), "run.textproto", {}, std::nullopt, 0, from.model).model.layers.size();
  }

  TemporaryDirectory scratch_;
};

TEST_F(StartingPointTest, IsStartFromIfTheRunHasNoCheckpoint) {
  for (const std::optional<int64_t> step : {std::optional<int64_t>(), std::optional<int64_t>(0)}) {
    const StartingPoint from = find(step);
    EXPECT_EQ(from.step, 0);
    EXPECT_TRUE(from.model.is_start_from);
    EXPECT_EQ(from.model.checkpoint, base().string());
    EXPECT_EQ(layers(from), 7u);
  }
}

TEST_F(StartingPointTest, IsTheRunsOwnCheckpointIfThereIsOne) {
  write_own(3, 3);
  write_own(5, 5);
  std::filesystem::remove_all(base());  // may be gone by then
  EXPECT_EQ(find().step, 5);
  EXPECT_FALSE(find().model.is_start_from);
  EXPECT_EQ(layers(find()), 5u);
  EXPECT_EQ(find(3).step, 3);
  EXPECT_EQ(layers(find(3)), 3u);
  // If there is no checkpoint of the step, the load reports it; a model that is not complete does not hide that.
  EXPECT_EQ(find(4).step, 4);
  EXPECT_EQ(layers(find(4)), 5u);
  const std::string gone = fmt::format("there is no checkpoint {}", base().string());
  EXPECT_EQ(find(0).model.problem, gone);
  expect_error<ConfigurationError>([&] { layers(find(0)); }, {"run.textproto has 1 problem:", gone});
}

TEST_F(StartingPointTest, ADamagedCheckpointGivesWayToAnOlderOne) {
  write_own(3, 3);
  write_own(5, 5);
  write_file(own(5) / kManifestName, "format_version: 1\nhalf of a manif");
  EXPECT_EQ(find().step, 5);
  EXPECT_EQ(layers(find()), 3u);
  write_file(own(3) / kManifestName, "");
  EXPECT_NE(find().model.problem.find("step-00000005"), std::string::npos) << find().model.problem;
  expect_error<ConfigurationError>([&] { layers(find()); }, {"model is not complete", "checksum is wrong"});
}

TEST_F(StartingPointTest, AWholeModelNeedsNoManifestOfTheRun) {
  write_own(5, 5);
  write_file(own(5) / kManifestName, "damaged");
  std::string whole = model_text(4);
  whole.insert(whole.rfind('}'), "norm_epsilon: 1e-5 logit_scale: 1 initializer_range: 1");
  EXPECT_EQ(find({}, whole).step, 5);
  EXPECT_EQ(find({}, whole).model.problem, "");
  EXPECT_NE(find({}, model_text(4)).model.problem, "") << "logit_scale is not set";
  EXPECT_EQ(find(0, whole).model.checkpoint, base().string()) << "to compare the shapes";
}

TEST_F(StartingPointTest, ANewRunContinuesWithTheThetaOfTheStageThatWasReached) {
  const std::string staged =
      "model { layers: 1 pattern { position: ROPE theta: 10 } pattern {} } training { stages { first_step: 5 theta: 20 "
      "} "
      "stages { first_step: 6 batch: 2 } stages { first_step: 8 theta: 30 } }";
  for (const auto& [step, theta] : std::map<int64_t, int>{{5, 10}, {6, 20}, {8, 20}, {9, 30}}) {
    Manifest manifest;
    manifest.progress.step = step;
    manifest.mesh = {1, 1, 1};
    manifest.run.config_text = staged;
    const auto has = [](const StartingPoint& from, int value) {
      return from.model.text.find(fmt::format("theta: {}\n", value)) != std::string::npos;
    };
    write_file(base() / kManifestName, manifest_text(manifest));
    EXPECT_TRUE(has(find(), theta)) << step << find().model.text << find().model.problem;
    // A run that resumes has the stages themselves.
    std::filesystem::create_directories(own(step));
    write_file(own(step) / kManifestName, manifest_text(manifest));
    EXPECT_TRUE(has(find(), 10)) << step << find().model.text;
    std::filesystem::remove_all(scratch_ / "run");
  }
}

TEST_F(StartingPointTest, OtherPathsAreNamedAsWhatTheyAre) {
  const auto problem = [&](const std::filesystem::path& path) {
    const std::vector<std::string> overrides = {"training.start_from=" + path.string()};
    return find_starting_point(text(), "run.textproto", overrides).model.problem;
  };
  write_own(3, 3);
  std::filesystem::rename(scratch_ / "run", scratch_ / "other");
  EXPECT_NE(problem(scratch_ / "other").find("holds checkpoints and is not one itself; name one of them, such as"),
            std::string::npos);
  write_file(scratch_ / "config.json", "{}");
  EXPECT_NE(problem(scratch_.path()).find("is a Hugging Face model, not a checkpoint; import it"), std::string::npos);
  EXPECT_NE(problem(scratch_ / "config.json").find("is a file, not a checkpoint"), std::string::npos);
  Manifest no_model;
  no_model.mesh = {1, 1, 1};
  no_model.run.config_text = "training { steps: 1 }";
  write_file(base() / kManifestName, manifest_text(no_model));
  EXPECT_NE(problem(base()).find("has no group model"), std::string::npos) << problem(base());
}

TEST_F(StartingPointTest, NoneAtAllIsTheInitialWeights) {
  const StartingPoint none = find_starting_point("training { steps: 1 }", "run.textproto", {});
  EXPECT_EQ(none.step, 0);
  EXPECT_EQ(none.model.checkpoint + none.model.text + none.model.problem, "");
  const std::vector<std::string> emptied = {"training.start_from="};
  EXPECT_EQ(find_starting_point(text(), "run.textproto", emptied).model.checkpoint, "");
}

}  // namespace
}  // namespace ropewalk
