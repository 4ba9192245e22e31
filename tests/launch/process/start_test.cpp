// The line that starts the ranks: options by user and machine, words as a shell takes them back.
#include "launch/process/start.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/support/temporary_directory.h"

namespace ropewalk {
namespace {

TEST(Start, TakesTheOptionsThatItNeeds) {
  Start start{{"ropewalk", "train", "a.textproto"}, false, 4, 8, true};
  EXPECT_EQ(mpirun_line(4, start), "mpirun -n 4 ropewalk train a.textproto");
  EXPECT_EQ(mpirun_line(3, start), "mpirun -n 3 --bind-to none ropewalk train a.textproto");
  EXPECT_EQ(mpirun_line(5, start), "mpirun -n 5 --oversubscribe --bind-to none ropewalk train a.textproto");
  start.has_whole_host = false;
  EXPECT_EQ(mpirun_line(4, start), "mpirun -n 4 --bind-to none ropewalk train a.textproto");
  start.cpus = 2;  // the quota of a container that sees all CPUs
  EXPECT_EQ(mpirun_line(4, start), "mpirun -n 4 --bind-to none --mca mpi_yield_when_idle 1 ropewalk train a.textproto");
  start.cpus = 8;
  start.root = true;
  EXPECT_EQ(mpirun_line(9, start),
            "mpirun -n 9 --allow-run-as-root --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 ropewalk train "
            "a.textproto");
  EXPECT_EQ(srun_line(9, start), "srun --mpi=pmix -n 9 ropewalk train a.textproto");
  EXPECT_EQ(command_line(start, {"A", "B"}), "env --unset=A --unset=B ropewalk train a.textproto");
  start.placement = {"OMPI_MCA_rmaps_base_mapping_policy"};
  EXPECT_EQ(mpirun_line(4, start),
            "env --unset=OMPI_MCA_rmaps_base_mapping_policy mpirun -n 4 --allow-run-as-root --bind-to none ropewalk "
            "train a.textproto");
}

TEST(Start, IsQuotedForTheShell) {
  EXPECT_EQ(shell_quoted("--set"), "--set");
  EXPECT_EQ(shell_quoted("a.b=3e-4,/x:y@z%+"), "a.b=3e-4,/x:y@z%+");
  EXPECT_EQ(shell_quoted(""), "''");
  EXPECT_EQ(shell_quoted("it's $HOME"), "'it'\\''s $HOME'");
  EXPECT_EQ(shell_quoted("model.pattern=[{mask: FULL}]"), "'model.pattern=[{mask: FULL}]'");
}

TEST(Start, IsThatOfThisProcess) {
  const Start start = this_start();
  ASSERT_FALSE(start.command.empty());
  EXPECT_NE(start.command.front().find("launch_test"), std::string::npos);
  EXPECT_GE(start.cores, 1);
  EXPECT_GE(start.cpus, 1);

  TemporaryDirectory folder;
  write_file(folder / "membership", "0::/\n");
  write_file(folder / "cpu.max", "100000 100000\n");
  const Start limited = this_start({folder / "membership", folder.path()});
  EXPECT_EQ(limited.cpus, 1);
  EXPECT_EQ(limited.cores, start.cores);
  EXPECT_EQ(limited.has_whole_host, sysconf(_SC_NPROCESSORS_ONLN) == 1);
}

void set(const char* variable, const char* value) {
  if (value)
    setenv(variable, value, 1);
  else
    unsetenv(variable);
}

TEST(Start, ReadsVariablesAsMpirunDoes) {
  const auto is_permitted = [](const char* one, const char* other) {
    set("OMPI_ALLOW_RUN_AS_ROOT", one);
    set("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", other);
    return !this_start().root;
  };
  EXPECT_TRUE(is_permitted("1", "1"));
  if (geteuid() == 0) {
    for (const char* wrong : {"0", "true", static_cast<const char*>(nullptr)}) {
      EXPECT_FALSE(is_permitted(wrong, "1"));
      EXPECT_FALSE(is_permitted("1", wrong));
    }
  }
  is_permitted(nullptr, nullptr);

  set("OMPI_MCA_rmaps_base_no_oversubscribe", "1");
  EXPECT_EQ(this_start().placement, std::vector<std::string>{"OMPI_MCA_rmaps_base_no_oversubscribe"});
  set("OMPI_MCA_rmaps_base_no_oversubscribe", nullptr);
  EXPECT_TRUE(this_start().placement.empty());
}

TEST(Start, KnowsWhetherRanksYield) {
  const auto yields = [](const char* yield, const char* oversubscribe) {
    set("OMPI_MCA_mpi_yield_when_idle", yield);
    set("OMPI_MCA_mpi_oversubscribe", oversubscribe);
    return ranks_yield();
  };
  for (const char* yes : {"1", "true", "t", "yes", "enabled", "2"}) {
    EXPECT_TRUE(yields(yes, nullptr)) << yes;
    EXPECT_TRUE(yields(nullptr, yes)) << yes;
    EXPECT_FALSE(yields("0", yes)) << yes;
  }
  EXPECT_TRUE(yields("1", "0"));
  for (const char* no : {"0", "false", "no", "", static_cast<const char*>(nullptr)}) EXPECT_FALSE(yields(no, nullptr));
  EXPECT_FALSE(yields(nullptr, nullptr));
}

}  // namespace
}  // namespace ropewalk
