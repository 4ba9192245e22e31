// The time between two looks counts in full, unless it is so long that the process cannot have run.
#include "parallel/communicator/watched_time.h"

#include <gtest/gtest.h>

namespace ropewalk {
namespace {

TEST(WatchedTime, CountsWhatIsSeen) {
  WatchedTime waited(std::chrono::seconds(60), 100.0);
  double now = 100.0;
  while (!waited.is_over()) waited.look(now += 0.25);
  EXPECT_EQ(now, 160.0);
  EXPECT_EQ(waited.seconds(), 60.0);
}

TEST(WatchedTime, LeavesOutWhatNobodySaw) {
  WatchedTime waited(std::chrono::seconds(60), 0.0);
  waited.look(0.5);
  waited.look(10000.5);  // asleep
  EXPECT_EQ(waited.seconds(), 1.5);
  waited.look(10059.0);
  EXPECT_FALSE(waited.is_over());
}

TEST(WatchedTime, EndsForOneWhoLooksRarely) {
  WatchedTime waited(std::chrono::seconds(5), 0.0);
  double now = 0.0;
  while (!waited.is_over() && now < 1000.0) waited.look(now += 10.0);
  EXPECT_LE(now, 100.0);  // a tenth of the deadline at each look
}

TEST(WatchedTime, OfAShortDeadlineIsAsWakeful) {
  WatchedTime waited(std::chrono::milliseconds(500), 0.0);
  waited.look(30.0);
  EXPECT_FALSE(waited.is_over());
  EXPECT_LE(waited.seconds(), 0.05);
}

TEST(WatchedTime, CanBeginLater) {
  WatchedTime waited(std::chrono::seconds(2), 0.0);
  for (double now = 0.1; now < 3.05; now += 0.1) waited.look(now);
  EXPECT_TRUE(waited.is_over());
  EXPECT_FALSE(waited.is_over(1.5));
}

}  // namespace
}  // namespace ropewalk
