#include "trainer/metrics/metrics_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/support/temporary_directory.h"
#include "tests/trainer/files/faulty_file_system.h"
#include "tests/trainer/metrics/full_disk.h"
#include "trainer/files/output_file.h"

namespace ropewalk {
namespace {

StepMetrics metrics_of(int64_t step) {
  StepMetrics metrics;
  metrics.step = step;
  metrics.total_steps = 100;
  metrics.time = 1700000000.25;
  metrics.loss = 5.0 / static_cast<double>(step);
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

// A file that continues after a step, and its messages.
struct Opened {
  Opened(const std::filesystem::path& path, int64_t resumed_step, FileSystem& system = real_file_system())
      : file(
            path, resumed_step, [this](const std::string& line) { told += line + "\n"; }, system) {}
  void write(int64_t step) {
    file.add(metrics_of(step));
    file.flush();
  }
  std::string told;
  MetricsFile file;
};

std::string line_of(int64_t step) { return json_line(metrics_of(step)) + "\n"; }

std::string lines_of(int64_t first, int64_t last) {
  std::string text;
  for (int64_t step = first; step <= last; ++step) text += line_of(step);
  return text;
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

TEST(JsonLine, WritesTheMeanOfNothingAsNull) {
  StepMetrics metrics = metrics_of(1);
  metrics.loss.reset();
  metrics.validation = ValidationMetrics{2, {2, std::nullopt}};
  EXPECT_TRUE(parsed(metrics)["loss"].is_null());
  EXPECT_EQ(parsed(metrics)["validation_loss_by_position"], nlohmann::json({2.0, nullptr}));
  metrics.validation->loss.reset();
  EXPECT_TRUE(parsed(metrics)["validation_loss"].is_null());
}

TEST(Scalars, LeaveOutTheMeanOfNothing) {
  StepMetrics metrics = metrics_of(1);
  metrics.loss.reset();
  metrics.validation = ValidationMetrics{std::nullopt, {2, std::nullopt}};
  std::set<std::string> tags;
  for (const auto& [tag, value] : scalars_of(metrics)) tags.insert(tag);
  EXPECT_FALSE(tags.contains("train/loss") || tags.contains("validation/loss") ||
               tags.contains("validation/loss_position_2_of_2"));
  EXPECT_TRUE(tags.contains("validation/loss_position_1_of_2"));
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
  const TemporaryDirectory scratch;
  const auto path = scratch.path() / "run" / "metrics.jsonl";  // the directory is created
  Opened run(path, 0);
  run.write(1);
  EXPECT_EQ(read_file(path), line_of(1));
  run.write(2);
  EXPECT_EQ(read_file(path), lines_of(1, 2));
  EXPECT_EQ(run.told, "");
}

TEST(MetricsFile, ResumingCutsLaterStepsAndAHalfWrittenLine) {
  for (const char* rest : {"", "{\"step\":6,\"lo", "{\"step\":5", "{"}) {
    const TemporaryDirectory scratch;
    const auto path = scratch.path() / "metrics.jsonl";
    write_file(path, lines_of(1, 5) + rest);
    Opened run(path, 3);
    run.write(4);
    EXPECT_EQ(read_file(path), lines_of(1, 4)) << rest;
    Opened(path, 4).file.start();
    EXPECT_EQ(read_file(path), lines_of(1, 4)) << "nothing to cut";
    EXPECT_EQ(run.told, "");
    EXPECT_FALSE(std::filesystem::exists(path.string() + ".1"));
  }
}

TEST(MetricsFile, ARunFromItsStartKeepsWhatThereWas) {
  const TemporaryDirectory scratch;
  const auto path = scratch.path() / "metrics.jsonl";
  write_file(path, lines_of(1, 4));
  for (const char* kept : {".1", ".2"}) {
    Opened run(path, 0);
    run.write(1);
    EXPECT_EQ(run.told, "the metrics of an earlier run are kept as " + path.string() + kept + "\n");
    EXPECT_EQ(read_file(path), line_of(1));
    EXPECT_EQ(read_file(path.string() + kept), kept == std::string(".1") ? lines_of(1, 4) : line_of(1));
  }
}

TEST(MetricsFile, DropsAHalfWrittenLineOfAnEarlierStepAndTellsThatItIsMissing) {
  const TemporaryDirectory scratch;
  const auto path = scratch.path() / "metrics.jsonl";
  write_file(path, line_of(1) + json_line(metrics_of(2)));  // complete except for its newline
  Opened run(path, 3);
  run.file.start();
  EXPECT_EQ(read_file(path), line_of(1));
  EXPECT_EQ(run.told, path.string() + " has no lines for step 2-3, which the checkpoint includes\n");
}

TEST(MetricsFile, GoesOnWithoutDamagedLinesAndKeepsTheFileAsItWas) {
  for (const std::string& bad :
       {std::string("not json\n"), std::string("[1]\n"), std::string("{\"step\":\"1\"}\n"), std::string("\n"),
        std::string("\0\0\n", 3), std::string(2 << 20, 'x') + "\n", std::string(50000, '[') + "\n",
        std::string(9 << 20, '\0') + "\n", std::string("{\"step\":3,\"loss\":{\"step\":4,\"loss\":1}\n")}) {
    const TemporaryDirectory scratch;
    const auto path = scratch.path() / "metrics.jsonl";
    const std::string before = lines_of(1, 2) + bad + lines_of(5, 9);
    write_file(path, before);
    Opened run(path, 7);
    run.write(8);
    EXPECT_EQ(read_file(path), lines_of(1, 2) + lines_of(5, 8)) << bad.substr(0, 20);
    EXPECT_EQ(read_file(path.string() + ".1"), before);
    EXPECT_EQ(run.told, "warning: " + path.string() +
                            " is damaged (line 3); it continues without these lines, and the old file is kept as " +
                            path.string() + ".1\n" + path.string() +
                            " has no lines for step 3-4, which the checkpoint includes\n");
  }
}

TEST(MetricsFile, LosesNothingOfAFileThatIsNotOurs) {
  for (const std::string& other : {std::string("my notes"), std::string("my\nnotes\n"), std::string(3 << 20, '\0')}) {
    const TemporaryDirectory scratch;
    const auto path = scratch.path() / "metrics.jsonl";
    write_file(path, other);
    Opened run(path, 2);
    run.write(3);
    EXPECT_EQ(read_file(path), line_of(3));
    EXPECT_EQ(read_file(path.string() + ".1"), other);
    EXPECT_NE(run.told.find("is damaged (line 1"), std::string::npos) << run.told;
    EXPECT_NE(run.told.find("has no lines for step 1-2"), std::string::npos) << run.told;
  }
}

TEST(MetricsFile, ToldTwiceTheLaterLineCounts) {
  const TemporaryDirectory scratch;
  const auto path = scratch.path() / "metrics.jsonl";
  write_file(path, lines_of(1, 5) + lines_of(3, 4) + lines_of(6, 6));
  Opened run(path, 6);
  run.file.start();
  EXPECT_EQ(read_file(path), lines_of(1, 4) + line_of(6));
  EXPECT_NE(run.told.find("had several lines for some steps"), std::string::npos) << run.told;
  EXPECT_NE(run.told.find("no lines for step 5,"), std::string::npos) << run.told;
}

TEST(MetricsFile, ARunThatBeganElsewhereMissesNothing) {
  const TemporaryDirectory scratch;
  const auto path = scratch.path() / "metrics.jsonl";
  write_file(path, lines_of(41, 44) + lines_of(47, 47));
  Opened run(path, 48);
  run.file.start();
  EXPECT_EQ(run.told, path.string() + " has no lines for step 45-46, 48, which the checkpoint includes\n");
}

TEST(MetricsFile, WhatIsInTheWayIsNamedAndWaitedFor) {
  const TemporaryDirectory scratch;
  write_file(scratch.path() / "file", "");
  std::filesystem::create_directory(scratch.path() / "directory");
  write_file(scratch.path() / "victim", "mine");
  std::filesystem::create_symlink(scratch.path() / "victim", scratch.path() / "link");
  for (const auto& path : {scratch.path() / "file" / "metrics.jsonl", std::filesystem::path("/proc/none/metrics.jsonl"),
                           scratch.path() / "directory", scratch.path() / "link"}) {
    for (const int64_t resumed_step : {0, 3}) {
      Opened run(path, resumed_step);
      try {
        run.write(1);
        ADD_FAILURE() << "written to " << path;
      } catch (const FileError& error) {
        EXPECT_NE(std::string(error.what()).find(path.parent_path().string()), std::string::npos) << error.what();
      }
    }
  }
  EXPECT_EQ(read_file(scratch.path() / "victim"), "mine");
  Opened run(scratch.path() / "directory", 0);
  EXPECT_THROW(run.write(1), FileError);
  std::filesystem::remove(scratch.path() / "directory");
  run.write(2);
  EXPECT_EQ(read_file(scratch.path() / "directory"), lines_of(1, 2));
}

TEST(MetricsFile, AFullDiskLeavesWholeLinesAndLosesNone) {
  const TemporaryDirectory scratch;
  const auto path = scratch.path() / "metrics.jsonl";
  Opened run(path, 0);
  run.write(1);
  {
    const FullDisk full(line_of(1).size() + 10);  // room for ten bytes of the next line
    EXPECT_THROW(run.write(2), FileError);
    EXPECT_EQ(read_file(path), line_of(1));
  }
  run.write(3);
  EXPECT_EQ(read_file(path), lines_of(1, 3));  // the line that did not fit was buffered
}

// Each system call of a resume with a damaged file fails in turn; the next try continues, and no line is lost or
// repeated.
TEST(MetricsFile, AnyCallThatFailsAtTheStartIsTriedAgain) {
  int failures = 0;
  for (const std::string& bad : {std::string(), std::string("torn\n")}) {
    for (int64_t call = 0;; ++call) {
      SCOPED_TRACE(call);
      const TemporaryDirectory scratch;
      const auto path = scratch.path() / "metrics.jsonl";
      write_file(path, lines_of(1, 2) + bad + lines_of(3, 6));
      CallCounter counter(call, CallCounter::Mode::kOnce, EIO);
      FaultyFileSystem disk([&](const char*) { return counter(); });
      Opened run(path, 4, disk);
      for (int64_t step = 5; step <= 6; ++step) {
        try {
          run.write(step);
        } catch (const FileError& error) {
          ++failures;
        }
      }
      run.file.flush();
      EXPECT_EQ(read_file(path), lines_of(1, 6));
      if (!counter.reached()) break;
      ASSERT_FALSE(HasFailure());
    }
  }
  EXPECT_GT(failures, 12);
}

// Killed between the two renames of a repair: the valid lines are still under the temporary name.
TEST(MetricsFile, ARepairThatWasInterruptedIsFinished) {
  const TemporaryDirectory scratch;
  const auto path = scratch.path() / "metrics.jsonl";
  write_file(path.string() + ".1", lines_of(1, 2) + "torn\n" + lines_of(3, 4));
  write_file(beside(path), lines_of(1, 4));
  Opened run(path, 4);
  run.write(5);
  EXPECT_EQ(read_file(path), lines_of(1, 5));
  EXPECT_FALSE(std::filesystem::exists(beside(path)));
}

TEST(MetricsFile, WhatIsSyncedOutlivesAPowerCut) {
  for (const std::string& bad : {std::string(), std::string("torn\n")}) {
    const TemporaryDirectory scratch;
    const auto path = scratch.path() / "metrics.jsonl";
    write_file(path, lines_of(1, 2) + bad + lines_of(3, 6));
    PowerCutFileSystem disk(scratch.path(), 1 << 20);
    Opened run(path, 4, disk);
    run.file.add(metrics_of(5));
    run.file.sync();
    disk.cut();
    EXPECT_EQ(read_file(path), lines_of(1, 5)) << bad;
  }
}

}  // namespace
}  // namespace ropewalk
