#include "trainer/metrics/progress.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <sstream>

#include "kernels/error.h"

namespace ropewalk {
namespace {

Terminal terminal_of(int columns, bool colours = false) {
  Terminal terminal;
  terminal.redraws = true;
  terminal.colours = colours;
  terminal.columns = [columns] { return columns; };
  return terminal;
}

// The rows that a terminal of unlimited width shows after `output`; the cursor is in the last one.
std::vector<std::string> shown(const std::string& output) {
  std::vector<std::string> rows(1);
  for (size_t i = 0; i < output.size(); ++i) {
    const char c = output[i];
    if (c == '\n') {
      rows.emplace_back();
    } else if (c == '\r') {
      CHECK(output.substr(i, 4) == "\r\x1b[K", "a carriage return that does not clear");
      rows.back().clear();
      i += 3;
    } else if (c == '\x1b') {
      i = output.find('m', i);  // a colour
    } else {
      rows.back() += c;
    }
  }
  return rows;
}

StepMetrics metrics_of(int64_t step) {
  StepMetrics metrics;
  metrics.step = step;
  metrics.total_steps = 100;
  metrics.loss = 2.34567;
  metrics.gradient_norm = 0.5;
  metrics.learning_rate = 3e-4;
  metrics.tokens_per_second = 12345;
  metrics.seconds_remaining = 185;
  return metrics;
}

TEST(StepProgress, DrawsOneLineInPlace) {
  std::ostringstream out;
  double now = 0;
  StatusLine line(out, terminal_of(200), [&] { return now; });
  StepProgress progress(line, 10);
  for (int64_t step = 1; step <= 50; ++step, now += 1) progress.step(metrics_of(step));
  EXPECT_EQ(shown(out.str()), (std::vector<std::string>{"[=======>      ]  50/100  loss 2.3457  3 m 05 s left  12.3 k "
                                                        "tokens/s  gradient norm 0.5  learning rate 3.00e-04"}));
  line.clear();
  EXPECT_EQ(shown(out.str()), std::vector<std::string>{""});
}

TEST(StepProgress, HasTheUtilizationWhereThePeakIsKnown) {
  std::ostringstream out;
  StatusLine line(out, Terminal{});
  StepMetrics metrics = metrics_of(7);
  metrics.model_flops_utilization = 0.4567;
  StepProgress(line, 10).step(metrics);
  EXPECT_EQ(out.str(),
            "step 7/100  loss 2.3457  gradient norm 0.5  learning rate 3.00e-04  12.3 k tokens/s  MFU 0.457  3 m 05 s "
            "left\n");
}

TEST(StepProgress, NeverFillsMoreThanTheWidthAndDropsWholeParts) {
  for (int columns = 1; columns <= 130; ++columns) {
    std::ostringstream out;
    StatusLine line(out, terminal_of(columns, true), [] { return 0.0; });
    StepProgress(line, 10).step(metrics_of(3));
    const std::string row = shown(out.str()).back();
    EXPECT_LE(row.size(), static_cast<size_t>(std::max(columns - 1, 1)));
    if (columns > 40) {
      EXPECT_TRUE(row.find("loss 2.3457") != std::string::npos && !row.ends_with(" ")) << row;
    }
    if (columns > 60) {
      EXPECT_TRUE(row.find("3 m 05 s left") != std::string::npos) << row;
    }
  }
}

TEST(StepProgress, PrintedLinesStayAboveTheStatusLine) {
  std::ostringstream out;
  StatusLine line(out, terminal_of(30), [] { return 0.0; });
  StepProgress progress(line, 10);
  StepMetrics metrics = metrics_of(1);
  metrics.validation = ValidationMetrics{1.5, {2, 1}};
  progress.step(metrics);
  line.print("a sample\nof two lines");
  EXPECT_EQ(shown(out.str()), (std::vector<std::string>{"step 1/100  validation loss 1.5000  by position 2.0000 1.0000",
                                                        "a sample", "of two lines", "[>             ]  1/100"}));
}

TEST(StepProgress, TheMeanOfNothingIsNoNumber) {
  std::ostringstream out;
  StatusLine line(out, Terminal{});
  StepProgress progress(line, 1);
  StepMetrics metrics = metrics_of(1);
  metrics.loss.reset();
  metrics.gradient_norm = 0;
  metrics.validation = ValidationMetrics{1.5, {2, std::nullopt}};
  progress.step(metrics);
  metrics.validation = ValidationMetrics{std::nullopt, {std::nullopt, std::nullopt}};
  metrics.step = 2;
  progress.step(metrics);
  EXPECT_EQ(out.str(),
            "step 1/100  no targets  gradient norm 0  learning rate 3.00e-04  12.3 k tokens/s  3 m 05 s left\n"
            "step 1/100  validation loss 1.5000  by position 2.0000 none\n"
            "step 2/100  no targets  gradient norm 0  learning rate 3.00e-04  12.3 k tokens/s  3 m 05 s left\n"
            "step 2/100  validation: no targets\n");
}

TEST(StepProgress, PlainLinesComeAtIntervalsWithoutEscapes) {
  std::ostringstream out;
  StatusLine line(out, Terminal{});
  StepProgress progress(line, 40);
  for (int64_t step = 7; step <= 100; ++step) progress.step(metrics_of(step));
  line.print("\x1b[2J hostile \r text \xc2\x9b");
  EXPECT_EQ(out.str(),
            "step 7/100  loss 2.3457  gradient norm 0.5  learning rate 3.00e-04  12.3 k tokens/s  3 m 05 s left\n"
            "step 40/100  loss 2.3457  gradient norm 0.5  learning rate 3.00e-04  12.3 k tokens/s  3 m 05 s left\n"
            "step 80/100  loss 2.3457  gradient norm 0.5  learning rate 3.00e-04  12.3 k tokens/s  3 m 05 s left\n"
            "step 100/100  loss 2.3457  gradient norm 0.5  learning rate 3.00e-04  12.3 k tokens/s  3 m 05 s left\n"
            "\xef\xbf\xbd[2J hostile \xef\xbf\xbd text \xef\xbf\xbd\n");
}

TEST(StatusLine, DrawsAtMostTenTimesASecondAndColoursOnlyWhenAsked) {
  for (bool colours : {false, true}) {
    std::ostringstream out;
    double now = 0;
    StatusLine line(out, terminal_of(80, colours), [&] { return now; });
    for (int i = 0; i < 1000; ++i, now += 0.001) line.show({"part", std::to_string(i)});
    size_t drawings = 0;
    for (char c : out.str()) drawings += c == '\r';
    EXPECT_GE(drawings, 9u);
    EXPECT_LE(drawings, 11u);
    EXPECT_EQ(out.str().find("\x1b[36m") != std::string::npos, colours);
  }
}

TEST(StatusLine, FollowsAWindowThatChangesSize) {
  std::ostringstream out;
  int columns = 80;
  double now = 0;
  Terminal terminal = terminal_of(0);
  terminal.columns = [&] { return columns; };
  StatusLine line(out, terminal, [&] { return now++; });
  line.show({"first part", "second part"});
  EXPECT_EQ(shown(out.str()).back(), "first part  second part");
  columns = 15;
  line.show({"first part", "second part"});
  EXPECT_EQ(shown(out.str()).back(), "first part");
  columns = 6;
  line.show({"first part", "second part"});
  EXPECT_EQ(shown(out.str()).back(), "first");
}

TEST(WorkProgress, PlainLinesComeEveryTenSeconds) {
  std::ostringstream out;
  double now = 100;
  StatusLine line(out, Terminal{});
  WorkProgress progress(line, "tokenising", 4096, bytes_text, [&] { return now; });
  for (int i = 1; i <= 16; ++i) {
    now += 1;
    progress.at(256.0 * i);
  }
  progress.done();
  EXPECT_EQ(out.str(), "tokenising  2.5 KiB of 4.0 KiB  6.0 s left\ntokenising  4.0 KiB in 16.0 s\n");
}

TEST(WorkProgress, NothingToDoIsDone) {
  std::ostringstream out;
  StatusLine line(out, terminal_of(80));
  WorkProgress progress(line, "reading", 0, count_text, [] { return 0.0; });
  progress.at(0);
  EXPECT_EQ(shown(out.str()).back(), "[==============]  reading  0 of 0  ? left");
}

TEST(Terminal, StandardErrorOfATestIsPlain) {
  // Under ctest and in pipes there is no terminal. (On a terminal this test checks nothing.)
  if (isatty(2)) GTEST_SKIP() << "run on a terminal";
  EXPECT_FALSE(Terminal::of_stderr().redraws);
  EXPECT_FALSE(Terminal::of_stderr().colours);
  EXPECT_GT(Terminal::of_stderr().columns(), 0);
}

}  // namespace
}  // namespace ropewalk
