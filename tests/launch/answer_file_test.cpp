// The output of `ropewalk evaluate --requests` and a signal that asks to stop, at every moment.
#include "launch/verbs/answer_file.h"

#include <gtest/gtest.h>

#include <csignal>

#include "launch/process/signals.h"
#include "tests/support/temporary_directory.h"

namespace ropewalk {
namespace {

constexpr const char* kLine = "{\"logprob\": -0.5, \"token_logprobs\": [-0.5], \"is_greedy\": true}\n";

class AnswerFileTest : public testing::Test {
 protected:
  static void write_answer(AnswerFile& file) {
    const ScoringAnswer answer{.token_logprobs = {-0.5}, .is_greedy = true};
    file.write({&answer, 1});
  }

  TemporaryDirectory folder_;
  const std::string path_ = folder_ / "scores";
  const std::string unfinished_ = beside(path_);
};

TEST_F(AnswerFileTest, HasItsNameWhenItIsComplete) {
  const StopSignals signals;
  {
    AnswerFile file(path_, false);
    write_answer(file);
    EXPECT_EQ(folder_.names(), (std::vector<std::string>{"scores.lock.tmp", "scores.ropewalk-tmp"}));
    EXPECT_TRUE(file.finish());
    std::raise(SIGTERM);  // too late
  }
  EXPECT_EQ(folder_.names(), std::vector<std::string>{"scores"});
  EXPECT_EQ(read_file(path_), kLine);
}

TEST_F(AnswerFileTest, IsNotMadeAfterASignal) {
  const StopSignals signals;
  std::raise(SIGTERM);
  AnswerFile file(path_, false);
  EXPECT_TRUE(folder_.names().empty());
  write_answer(file);
  EXPECT_FALSE(file.finish());
  EXPECT_TRUE(folder_.names().empty());
}

// Whose unfinished file has the same name, as soon as the signal has removed this one.
TEST_F(AnswerFileTest, LeavesThatOfTheNextJobAfterASignal) {
  for (const bool finishes : {false, true}) {
    {
      const StopSignals signals;
      AnswerFile file(path_, true);
      write_answer(file);
      std::raise(SIGUSR1);
      EXPECT_TRUE(folder_.names().empty());
      write_file(unfinished_, "the next job's");
      if (finishes) {
        EXPECT_FALSE(file.finish());
      }
    }
    EXPECT_EQ(folder_.names(), std::vector<std::string>{"scores.ropewalk-tmp"});
    EXPECT_EQ(read_file(unfinished_), "the next job's");
    std::filesystem::remove(unfinished_);
  }
}

}  // namespace
}  // namespace ropewalk
