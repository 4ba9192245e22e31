#include "parallel/communicator/progress_engine.h"

#include <gtest/gtest.h>

#include <functional>

namespace ropewalk {
namespace {

// Counts its polls, and is complete after `needed` of them.
class Counting final : public Transfer {
 public:
  Counting(
      int& polls, int needed, std::function<void()> meanwhile = [] {})
      : polls_(polls), needed_(needed), meanwhile_(std::move(meanwhile)) {}
  bool progress() override {
    ++polls_;
    meanwhile_();
    return polls_ >= needed_;
  }
  void wait() override { meanwhile_(); }

 private:
  int& polls_;
  int needed_;
  std::function<void()> meanwhile_;
};

TEST(ProgressEngine, PollsEachUntilItIsComplete) {
  ProgressEngine engine;
  int a = 0, b = 0, c = 0;
  const auto first = engine.track(std::make_unique<Counting>(a, 2));
  const auto second = engine.track(std::make_unique<Counting>(b, 1));
  const auto third = engine.track(std::make_unique<Counting>(c, 3));
  for (int i = 0; i < 5; ++i) engine.poll();
  EXPECT_EQ(a, 2);
  EXPECT_EQ(b, 1);
  EXPECT_EQ(c, 3);
}

TEST(ProgressEngine, PollsNeitherWhatIsWaitedForNorWhatIsDestroyed) {
  ProgressEngine engine;
  int waited = 0, dropped = 0, other = 0;
  const auto first = engine.track(std::make_unique<Counting>(waited, 9, [&] { engine.poll(); }));
  auto second = engine.track(std::make_unique<Counting>(dropped, 9));
  const auto third = engine.track(std::make_unique<Counting>(other, 9));
  second.reset();
  first->wait();  // its wait polls the others
  EXPECT_EQ(waited, 0);
  EXPECT_EQ(dropped, 0);
  EXPECT_EQ(other, 1);
}

// A transfer that fails in a poll waits for messages that it cannot take back; that wait calls poll() again.
TEST(ProgressEngine, IsNotPolledByWhatItPolls) {
  ProgressEngine engine;
  int outer = 0, other = 0;
  const auto first = engine.track(std::make_unique<Counting>(outer, 9, [&] { engine.poll(); }));
  const auto second = engine.track(std::make_unique<Counting>(other, 9));
  engine.poll();
  EXPECT_EQ(outer, 1);
  EXPECT_EQ(other, 1);
}

TEST(ProgressEngine, GoesOnBehindOneThatFails) {
  ProgressEngine engine;
  int bad = 0, other = 0;
  const auto first =
      engine.track(std::make_unique<Counting>(bad, 9, [] { throw CommunicationError("rank 1 is gone"); }));
  const auto second = engine.track(std::make_unique<Counting>(other, 9));
  EXPECT_THROW(engine.poll(), CommunicationError);
  engine.poll();
  EXPECT_EQ(bad, 1);
  EXPECT_EQ(other, 1);
  EXPECT_GT(engine.seconds(), 0);
}

// Transfers of a device need no polling.
TEST(ProgressEngine, LeavesAloneWhatNeedsNoPolling) {
  struct Device final : Transfer {
    bool progress() override { throw std::logic_error("polled"); }
    bool needs_polling() const override { return false; }
    void wait() override {}
  };
  ProgressEngine engine;
  const auto transfer = engine.track(std::make_unique<Device>());
  engine.poll();
}

}  // namespace
}  // namespace ropewalk
