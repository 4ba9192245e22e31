// The message about a failed job, on 8 hosts of 8 ranks.
#include "launch/process/report.h"

#include <gtest/gtest.h>

namespace ropewalk {
namespace {

constexpr int kRanks = 64;

Roster roster() {
  std::vector<std::string> hosts;
  for (int rank = 0; rank < kRanks; ++rank) hosts.push_back(fmt::format("node{}", rank / 8));
  return Roster(kRanks, hosts);
}

Failure waits_for(std::vector<int> peers, const std::string& message, double seconds = 60.0) {
  return {ExitCode::kCommunication, message + "\n  details of it", {std::move(peers), seconds}};
}

TEST(Report, SurvivesTheJourney) {
  const Failure there = waits_for({3, 61}, "two\nlines"), back = decode(encode(there));
  EXPECT_EQ(back.code, there.code);
  EXPECT_EQ(back.message, there.message);
  EXPECT_EQ(back.unresponsive.ranks, there.unresponsive.ranks);
  EXPECT_EQ(back.unresponsive.seconds, there.unresponsive.seconds);
  EXPECT_EQ(decode(encode({ExitCode::kData, "", {}})).message, "");
}

// Rank 9 hangs. Its neighbours wait for it, and all other ranks for waiting ranks; rank 10 has only just begun to wait.
TEST(Report, NamesTheSilentRankNotItsVictims) {
  Reports reports(kRanks);
  for (int rank = 0; rank < kRanks; ++rank) reports[rank] = waits_for({rank ^ 1}, fmt::format("{} waits", rank));
  reports[0] = waits_for({9, 17, 25}, "0 waits");
  reports[10] = waits_for({9}, "10 waits", 0.1);
  reports[12] = waits_for({9}, "12 waits", 59.0);
  reports[9].reset();
  reports[8] = waits_for({9, 10}, "8 waits");
  EXPECT_EQ(tell(reports, roster()),
            "12 waits\n  no word from rank 9 on node1; 63 of 64 ranks have reported\n  details of it");
  EXPECT_EQ(common_code(reports), ExitCode::kCommunication);
}

TEST(Report, NamesASilentHost) {
  Reports reports(kRanks);
  for (int rank = 0; rank < 56; ++rank) reports[rank] = waits_for({rank % 8 + 56}, "the message");
  EXPECT_EQ(tell(reports, roster()),
            "the message\n  no word from ranks 56-63 on node7; 56 of 64 ranks have reported\n  details of it");
}

TEST(Report, IsShortWhereNobodyIsSilent) {
  Reports reports;
  for (int rank = 0; rank < kRanks; ++rank) reports.push_back(waits_for({0}, fmt::format("message of {}", rank)));
  EXPECT_EQ(tell(reports, roster()),
            "message of 0\n  message of 1\n  message of 2\n  message of 3\n  and 60 other messages\n  details of it");
}

TEST(Report, PutsDisagreementBeforeWaits) {
  Reports reports(kRanks);
  reports[2] = waits_for({3}, "2 waits");
  reports[3] = waits_for({}, "3 does not expect this");
  EXPECT_EQ(tell(reports, roster()), "3 does not expect this\n  details of it");
}

TEST(Report, PutsCausesBeforeTheirVictims) {
  Reports reports(kRanks);
  for (int rank = 0; rank < kRanks; ++rank) reports[rank] = waits_for({5}, "waits");
  reports[5] = {ExitCode::kDevice, "out of memory", {}};
  reports[6] = reports[5];
  EXPECT_EQ(tell(reports, roster()), "ranks 5, 6 on node0: out of memory");
  EXPECT_EQ(common_code(reports), ExitCode::kDevice);
}

TEST(Report, SaysOnceWhatAllSay) {
  const Reports reports(kRanks, Failure{ExitCode::kConfiguration, "no such file\nnor such a field", {}});
  EXPECT_EQ(tell(reports, roster()), "no such file\nnor such a field");
  EXPECT_EQ(common_code(reports), ExitCode::kConfiguration);
}

}  // namespace
}  // namespace ropewalk
