#include "parallel/communicator/progress_engine.h"

#include <gtest/gtest.h>

#include <functional>

namespace ropewalk {
namespace {

// Counts how often it is driven, and is done after `polls` times.
class Counting final : public Transfer {
 public:
  Counting(
      int& driven, int polls, std::function<void()> meanwhile = [] {})
      : driven_(driven), polls_(polls), meanwhile_(std::move(meanwhile)) {}
  bool progress() override {
    ++driven_;
    meanwhile_();
    return driven_ >= polls_;
  }
  void wait() override { meanwhile_(); }

 private:
  int& driven_;
  int polls_;
  std::function<void()> meanwhile_;
};

TEST(ProgressEngine, DrivesEachUntilItIsDone) {
  ProgressEngine engine;
  int a = 0, b = 0, c = 0;
  const auto first = engine.driven(std::make_unique<Counting>(a, 2));
  const auto second = engine.driven(std::make_unique<Counting>(b, 1));
  const auto third = engine.driven(std::make_unique<Counting>(c, 3));
  for (int i = 0; i < 5; ++i) engine.poll();
  EXPECT_EQ(a, 2);
  EXPECT_EQ(b, 1);
  EXPECT_EQ(c, 3);
}

TEST(ProgressEngine, DrivesNeitherWhatIsWaitedForNorWhatIsDestroyed) {
  ProgressEngine engine;
  int waited = 0, dropped = 0, other = 0;
  const auto first = engine.driven(std::make_unique<Counting>(waited, 9, [&] { engine.poll(); }));
  auto second = engine.driven(std::make_unique<Counting>(dropped, 9));
  const auto third = engine.driven(std::make_unique<Counting>(other, 9));
  second.reset();
  first->wait();  // which drives the rest
  EXPECT_EQ(waited, 0);
  EXPECT_EQ(dropped, 0);
  EXPECT_EQ(other, 1);
}

// One that fails while it is driven waits for the messages that it cannot take back, and that wait drives.
TEST(ProgressEngine, IsNotDrivenByWhatItDrives) {
  ProgressEngine engine;
  int outer = 0, other = 0;
  const auto first = engine.driven(std::make_unique<Counting>(outer, 9, [&] { engine.poll(); }));
  const auto second = engine.driven(std::make_unique<Counting>(other, 9));
  engine.poll();
  EXPECT_EQ(outer, 1);
  EXPECT_EQ(other, 1);
}

TEST(ProgressEngine, GoesOnBehindOneThatFails) {
  ProgressEngine engine;
  int bad = 0, other = 0;
  const auto first =
      engine.driven(std::make_unique<Counting>(bad, 9, [] { throw CommunicationError("rank 1 is gone"); }));
  const auto second = engine.driven(std::make_unique<Counting>(other, 9));
  EXPECT_THROW(engine.poll(), CommunicationError);
  engine.poll();
  EXPECT_EQ(bad, 1);
  EXPECT_EQ(other, 1);
  EXPECT_GT(engine.seconds(), 0);
}

// A device moves its transfers itself.
TEST(ProgressEngine, LeavesAloneWhatNeedsNoDriving) {
  struct Device final : Transfer {
    bool progress() override { throw std::logic_error("driven"); }
    bool needs_polling() const override { return false; }
    void wait() override {}
  };
  ProgressEngine engine;
  const auto transfer = engine.driven(std::make_unique<Device>());
  engine.poll();
}

}  // namespace
}  // namespace ropewalk
