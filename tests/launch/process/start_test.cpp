// The line that starts the ranks: options by user and machine, words as a shell takes them back.
#include "launch/process/start.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace ropewalk {
namespace {

TEST(Start, TakesTheOptionsThatItNeeds) {
  Start start{{"ropewalk", "train", "a.textproto"}, false, 4, 8};
  EXPECT_EQ(mpirun_line(4, start), "mpirun -n 4 ropewalk train a.textproto");
  EXPECT_EQ(mpirun_line(4, start, true), "mpirun -n 4 --bind-to none ropewalk train a.textproto");
  EXPECT_EQ(mpirun_line(5, start), "mpirun -n 5 --oversubscribe --bind-to none ropewalk train a.textproto");
  start.root = true;
  EXPECT_EQ(mpirun_line(9, start),
            "mpirun -n 9 --allow-run-as-root --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 ropewalk train "
            "a.textproto");
  EXPECT_EQ(srun_line(9, start), "srun --mpi=pmix -n 9 ropewalk train a.textproto");
  EXPECT_EQ(command_line(start, "WORLD_SIZE"), "env --unset=WORLD_SIZE ropewalk train a.textproto");
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
  EXPECT_GE(start.cpus, start.cores);
}

TEST(Start, KnowsWhetherRanksYield) {
  const char* const variables[] = {"OMPI_MCA_mpi_yield_when_idle", "OMPI_MCA_mpi_oversubscribe"};
  for (const char* variable : variables) unsetenv(variable);
  EXPECT_FALSE(ranks_yield());
  for (const char* variable : variables) {
    setenv(variable, "0", 1);
    EXPECT_FALSE(ranks_yield());
    setenv(variable, "1", 1);
    EXPECT_TRUE(ranks_yield());
    unsetenv(variable);
  }
}

}  // namespace
}  // namespace ropewalk
