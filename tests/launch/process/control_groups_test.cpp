// The limits of control groups, from a folder of files like those of the kernel.
#include "launch/process/control_groups.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/support/temporary_directory.h"

namespace ropewalk {
namespace {

class ControlGroupsTest : public testing::Test {
 protected:
  ControlGroups groups(const std::string& membership, const std::map<std::string, std::string>& files = {}) {
    write_file(folder_ / "membership", membership);
    for (const auto& [name, text] : files) {
      std::filesystem::create_directories((folder_ / "root" / name).parent_path());
      write_file(folder_ / "root" / name, text);
    }
    return {folder_ / "membership", folder_ / "root"};
  }

 private:
  TemporaryDirectory folder_;
};

TEST_F(ControlGroupsTest, LimitNothingWithoutALimit) {
  for (const char* membership : {"", "0::/\n", "0::/a/b\n", "no groups\n"}) {
    EXPECT_EQ(cpu_quota(groups(membership)), std::nullopt);
    EXPECT_EQ(memory_left(groups(membership)), std::nullopt);
  }
  const ControlGroups unlimited = groups("0::/\n", {{"cpu.max", "max 100000\n"}, {"memory.max", "max\n"}});
  EXPECT_EQ(cpu_quota(unlimited), std::nullopt);
  EXPECT_EQ(memory_left(unlimited), std::nullopt);
}

TEST_F(ControlGroupsTest, LimitTheTimeOfCpus) {
  EXPECT_EQ(cpu_quota(groups("0::/\n", {{"cpu.max", "250000 100000\n"}})), 2);
  EXPECT_EQ(cpu_quota(groups("0::/\n", {{"cpu.max", "50000 100000\n"}})), 1);
  EXPECT_EQ(cpu_quota(groups("0::/pod/task\n", {{"cpu.max", "max 100000\n"},
                                                {"pod/cpu.max", "300000 100000\n"},
                                                {"pod/task/cpu.max", "800000 100000\n"}})),
            3);
}

TEST_F(ControlGroupsTest, LimitTheTimeOfCpusInVersion1) {
  const std::string membership = "5:memory:/m\n4:cpu,cpuacct:/docker/1\n3:cpuset:/\n0::/x\n";
  EXPECT_EQ(cpu_quota(groups(membership, {{"cpu,cpuacct/docker/1/cpu.cfs_quota_us", "-1\n"},
                                          {"cpu,cpuacct/docker/1/cpu.cfs_period_us", "100000\n"}})),
            std::nullopt);
  // A container sees its own group as the root, under the path of the host.
  EXPECT_EQ(cpu_quota(groups(membership, {{"cpu,cpuacct/cpu.cfs_quota_us", "400000\n"},
                                          {"cpu,cpuacct/cpu.cfs_period_us", "100000\n"}})),
            4);
}

TEST_F(ControlGroupsTest, LimitMemoryOfTheJobAroundATask) {
  const std::map<std::string, std::string> job = {{"job_7/memory.max", "1000\n"},
                                                  {"job_7/memory.current", "900\n"},
                                                  {"job_7/memory.stat", "anon 500\ninactive_file 50\n"},
                                                  {"job_7/step_0/memory.max", "max\n"},
                                                  {"job_7/step_0/memory.current", "100\n"}};
  EXPECT_EQ(memory_left(groups("0::/job_7/step_0\n", job)), 150);
  EXPECT_EQ(memory_left(groups("0::/job_7/step_0\n", {{"job_7/step_0/memory.max", "60\n"}})),
            1);  // more used than allowed
}

TEST_F(ControlGroupsTest, LimitMemoryInVersion1) {
  EXPECT_EQ(
      memory_left(groups("4:memory:/a/b\n", {{"memory/a/memory.limit_in_bytes", "1000\n"},
                                             {"memory/a/memory.usage_in_bytes", "400\n"},
                                             {"memory/a/memory.stat", "inactive_file 1\ntotal_inactive_file 20\n"},
                                             {"memory/a/b/memory.limit_in_bytes", "9223372036854771712\n"},
                                             {"memory/a/b/memory.usage_in_bytes", "400\n"}})),
      620);
}

}  // namespace
}  // namespace ropewalk
