#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/error.h"
#include "tests/trainer/metrics/scratch.h"
#include "trainer/metrics/metrics.h"

namespace ropewalk {
namespace {

StepMetrics metrics_of(int64_t step) {
  StepMetrics metrics;
  metrics.step = step;
  metrics.total_steps = 100;
  metrics.time = 1700000000.25;
  metrics.loss = 5.0 / step;
  metrics.gradient_norm = 0.1;
  metrics.learning_rate = 3e-4;
  metrics.sequence_length = 512;
  metrics.tokens = 4096 * step;
  metrics.seconds = 0.5;
  metrics.tokens_per_second = 8192;
  metrics.model_flops_per_second = 1.5e9;
  metrics.bytes_sent = {{"sequence", 1 << 20}, {"tensor", 4567}};
  metrics.peak_memory_bytes = int64_t{5} << 32;
  metrics.seconds_remaining = 50;
  return metrics;
}

nlohmann::json parsed(const StepMetrics& metrics) { return nlohmann::json::parse(json_line(metrics)); }

std::vector<int64_t> steps_in(const std::filesystem::path& path) {
  std::vector<int64_t> steps;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) steps.push_back(nlohmann::json::parse(line)["step"]);
  return steps;
}

TEST(JsonLine, HoldsEveryFieldExactly) {
  StepMetrics metrics = metrics_of(7);
  metrics.model_flops_utilization = 0.37;
  metrics.validation = ValidationMetrics{2.5, {2.75, 2.25}, 0.125};
  const nlohmann::json object = parsed(metrics);
  EXPECT_EQ(object["step"], 7);
  EXPECT_EQ(object["total_steps"], 100);
  EXPECT_EQ(object["time"].get<double>(), metrics.time);
  EXPECT_EQ(object["loss"].get<double>(), metrics.loss);  // the shortest text that reads back as the same bits
  EXPECT_EQ(object["gradient_norm"].get<double>(), 0.1);
  EXPECT_EQ(object["learning_rate"].get<double>(), 3e-4);
  EXPECT_EQ(object["sequence_length"], 512);
  EXPECT_EQ(object["tokens"], 4096 * 7);
  EXPECT_EQ(object["seconds"], 0.5);
  EXPECT_EQ(object["tokens_per_second"], 8192);
  EXPECT_EQ(object["model_flops_per_second"], 1.5e9);
  EXPECT_EQ(object["model_flops_utilization"], 0.37);
  EXPECT_EQ(object["bytes_sent"], nlohmann::json({{"sequence", 1 << 20}, {"tensor", 4567}}));
  EXPECT_EQ(object["peak_memory_bytes"], int64_t{5} << 32);
  EXPECT_EQ(object["seconds_remaining"], 50);
  EXPECT_EQ(object["validation_loss"], 2.5);
  EXPECT_EQ(object["validation_loss_by_position"], nlohmann::json({2.75, 2.25}));
  EXPECT_EQ(object["validation_seconds"], 0.125);
  EXPECT_EQ(object.size(), 18u);
  EXPECT_EQ(json_line(metrics).find('\n'), std::string::npos);
  EXPECT_TRUE(json_line(metrics).starts_with("{\"step\":7,"));
}

TEST(JsonLine, LeavesOutWhatIsNotKnown) {
  const nlohmann::json object = parsed(metrics_of(1));
  EXPECT_FALSE(object.contains("model_flops_utilization"));
  EXPECT_FALSE(object.contains("validation_loss"));
}

TEST(JsonLine, WritesWhatIsNotFiniteAsStrings) {
  StepMetrics metrics = metrics_of(1);
  metrics.loss = NAN;
  metrics.gradient_norm = INFINITY;
  metrics.learning_rate = -INFINITY;
  metrics.validation = ValidationMetrics{1, {NAN, 1}};
  const nlohmann::json object = parsed(metrics);
  EXPECT_EQ(object["loss"], "nan");
  EXPECT_EQ(object["gradient_norm"], "inf");
  EXPECT_EQ(object["learning_rate"], "-inf");
  EXPECT_EQ(object["validation_loss_by_position"], nlohmann::json({"nan", 1.0}));
}

TEST(Scalars, HaveATagForEveryNumber) {
  StepMetrics metrics = metrics_of(1);
  metrics.validation = ValidationMetrics{1, {2, 3}};
  metrics.model_flops_utilization = 0.5;
  std::set<std::string> tags;
  for (const auto& [tag, value] : scalars_of(metrics)) EXPECT_TRUE(tags.insert(tag).second) << tag;
  for (const char* tag : {"train/loss", "throughput/model_flops_utilization", "communication/bytes_sent_sequence",
                          "validation/loss", "validation/loss_position_2_of_2"}) {
    EXPECT_TRUE(tags.contains(tag)) << tag;
  }
  EXPECT_EQ(tags.size(), 15u);
}

TEST(MetricsFile, ShowsEachLineAtOnce) {
  const ScratchDirectory scratch;
  const auto path = scratch.path() / "run" / "metrics.jsonl";  // the directory is made
  MetricsFile file(path, 0);
  file.write(metrics_of(1));
  EXPECT_EQ(read_file(path), json_line(metrics_of(1)) + "\n");
  file.write(metrics_of(2));
  EXPECT_EQ(steps_in(path), (std::vector<int64_t>{1, 2}));
}

TEST(MetricsFile, ResumingCutsLaterStepsAndAHalfWrittenLine) {
  for (const char* rest : {"", "{\"step\":6,\"lo", "{\"step\":5"}) {
    const ScratchDirectory scratch;
    const auto path = scratch.path() / "metrics.jsonl";
    {
      MetricsFile file(path, 0);
      for (int64_t step = 1; step <= 5; ++step) file.write(metrics_of(step));
    }
    write_file(path, read_file(path) + rest);
    {
      MetricsFile file(path, 3);
      EXPECT_EQ(steps_in(path), (std::vector<int64_t>{1, 2, 3})) << rest;
      file.write(metrics_of(4));
    }
    EXPECT_EQ(steps_in(path), (std::vector<int64_t>{1, 2, 3, 4})) << rest;
    { MetricsFile file(path, 4); }
    EXPECT_EQ(steps_in(path), (std::vector<int64_t>{1, 2, 3, 4})) << "nothing to cut";
    for (const char* kept : {".1", ".2"}) {
      MetricsFile file(path, 0);  // a run from its start
      EXPECT_EQ(read_file(path), "");
      EXPECT_EQ(file.kept(), path.string() + kept);
      EXPECT_EQ(steps_in(file.kept()).size(), kept == std::string(".1") ? 4u : 1u);
      file.write(metrics_of(1));
    }
  }
}

TEST(MetricsFile, ResumingDropsAHalfWrittenLineOfAnEarlierStep) {
  const ScratchDirectory scratch;
  const auto path = scratch.path() / "metrics.jsonl";
  write_file(path, json_line(metrics_of(1)) + "\n" + json_line(metrics_of(2)));  // whole but for its newline
  { MetricsFile file(path, 9); }
  EXPECT_EQ(steps_in(path), (std::vector<int64_t>{1}));
}

TEST(MetricsFile, RefusesAFileThatIsNotOursAndLeavesItAlone) {
  const std::string line = json_line(metrics_of(1)) + "\n";
  for (const std::string& other :
       {std::string("not json\n"), std::string("[1]\n"), std::string("{\"step\":\"1\"}\n"), std::string("\n"),
        std::string("\0\0\n", 3), std::string(2 << 20, 'x') + "\n", std::string(50000, '[') + "\n"}) {
    const ScratchDirectory scratch;
    const auto path = scratch.path() / "metrics.jsonl";
    write_file(path, line + other + line);
    try {
      MetricsFile file(path, 5);
      ADD_FAILURE() << "accepted " << other.substr(0, 20);
    } catch (const DataError& error) {
      EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos) << error.what();
    }
    EXPECT_EQ(read_file(path), line + other + line);
  }
}

TEST(MetricsFile, SaysWhichDirectoryCannotBeWritten) {
  const ScratchDirectory scratch;
  write_file(scratch.path() / "file", "");
  for (const auto& path :
       {scratch.path() / "file" / "metrics.jsonl", std::filesystem::path("/proc/none/metrics.jsonl"), scratch.path()}) {
    try {
      MetricsFile file(path, 0);
      ADD_FAILURE() << "opened " << path;
    } catch (const ConfigurationError& error) {
      EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos) << error.what();
    }
  }
}

TEST(MetricsFile, AFullDiskLeavesWholeLinesAndLosesNone) {
  const ScratchDirectory scratch;
  const auto path = scratch.path() / "metrics.jsonl";
  MetricsFile file(path, 0);
  file.write(metrics_of(1));
  const std::string before = read_file(path);
  {
    const FullDisk full(before.size() + 10);  // room for ten bytes of the next line
    EXPECT_THROW(file.write(metrics_of(2)), DataError);
    EXPECT_EQ(read_file(path), before);
  }
  file.write(metrics_of(3));
  EXPECT_EQ(steps_in(path), (std::vector<int64_t>{1, 2, 3}));  // the one that did not fit has waited
}

}  // namespace
}  // namespace ropewalk
