// What each launcher's variables mean: a job of several ranks, one rank alone, or a job whose ranks cannot find each
// other.
#include "launch/process/launcher.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>

#include "kernels/error.h"

namespace ropewalk {
namespace {

using Variables = std::map<std::string, std::string>;

Launcher launcher_in(const Variables& environment, bool server_is_there = true) {
  return read_launcher(
      [&](const char* name) {
        const auto found = environment.find(name);
        return found == environment.end() ? nullptr : found->second.c_str();
      },
      [=](const std::string&) { return server_is_there; });
}

Variables operator+(Variables a, const Variables& b) {
  for (const auto& [name, value] : b) a[name] = value;
  return a;
}

Variables pmix(const std::string& rank) {
  return {{"PMIX_NAMESPACE", "1169227777"},
          {"PMIX_RANK", rank},
          {"PMIX_SERVER_URI2", "1169227776.0;tcp4://127.0.0.1:59029"}};
}
const Variables kTwoHere = {{"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}, {"LOCAL_WORLD_SIZE", "2"}, {"MPI_LOCALNRANKS", "2"}};
Variables open_mpi(const std::string& size, const std::string& rank) {
  return {{"OMPI_COMM_WORLD_SIZE", size}, {"OMPI_COMM_WORLD_RANK", rank}};
}
Variables slurm_step(const std::string& size, const std::string& rank) {
  return {{"SLURM_JOB_ID", "7"},
          {"SLURM_STEP_ID", "0"},
          {"SLURM_NTASKS", size},
          {"SLURM_PROCID", rank},
          {"SLURM_STEP_NUM_TASKS", size}};
}
Variables mpich(const std::string& size, const std::string& rank) {
  return {{"PMI_SIZE", size}, {"PMI_RANK", rank}, {"PMI_FD", "9"}};
}
Variables torch(const std::string& size, const std::string& rank) {  // torchrun, and a PyTorchJob of Kubeflow
  return {{"WORLD_SIZE", size}, {"RANK", rank}, {"LOCAL_RANK", "0"}, {"MASTER_ADDR", "job-master-0"}};
}

const Start kStart = {{"ropewalk", "train", "a.textproto"}, false, 2, 8, true};

std::string refusal(const Launcher& launcher) {
  try {
    check_server(launcher, [] { return kStart; });
  } catch (const ConfigurationError& error) {
    return error.what();
  }
  return "";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Launcher, WithAServerMakesAJob) {
  for (const Variables& job :
       {pmix("3") + open_mpi("4", "3"), pmix("3") + slurm_step("4", "3"),
        // mpirun in a step of Slurm, in a pod of Kubeflow
        pmix("3") + open_mpi("4", "3") + slurm_step("1", "0"), pmix("3") + open_mpi("4", "3") + torch("2", "0")}) {
    const Launcher launcher = launcher_in(job);
    EXPECT_TRUE(launcher.is_of_a_job());
    EXPECT_TRUE(launcher.leaves_it_to_rank_0());
    EXPECT_EQ(launcher.rank, 3);
    EXPECT_EQ(launcher.job_size(), 4);
    EXPECT_EQ(refusal(launcher), "");
    EXPECT_FALSE(launcher.is_one_of_more_tasks());
  }
  const Launcher unknown = launcher_in(pmix("0"));  // a launcher that does not give the size; MPI will
  EXPECT_TRUE(unknown.is_of_a_job());
  EXPECT_FALSE(unknown.leaves_it_to_rank_0());
  EXPECT_EQ(unknown.job_size(), std::nullopt);
  EXPECT_EQ(refusal(unknown), "");
}

TEST(Launcher, KnowsAJobOfOneHost) {
  const auto on_one_host = [](const Variables& job) { return launcher_in(pmix("1") + job).on_one_host; };
  EXPECT_TRUE(on_one_host(open_mpi("4", "1") + Variables{{"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}}));
  EXPECT_FALSE(on_one_host(open_mpi("4", "1") + Variables{{"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}}));
  EXPECT_FALSE(on_one_host(open_mpi("4", "1")));
  EXPECT_TRUE(on_one_host(slurm_step("4", "1") + Variables{{"SLURM_STEP_NUM_NODES", "1"}}));
  EXPECT_FALSE(on_one_host(slurm_step("4", "1") + Variables{{"SLURM_STEP_NUM_NODES", "2"}}));
  // mpirun inside a Slurm step on one host may start ranks on other hosts.
  EXPECT_FALSE(on_one_host(open_mpi("4", "1") + Variables{{"SLURM_STEP_NUM_NODES", "1"}}));
  EXPECT_FALSE(on_one_host({}));
}

TEST(Launcher, OfOneRankNeedsNoMpi) {
  for (const Variables& alone :
       {Variables{}, pmix("0") + open_mpi("1", "0"), pmix("0") + slurm_step("1", "0"), open_mpi("1", "0"),
        slurm_step("1", "0"), mpich("1", "0"), torch("1", "0"), slurm_step("1", "0") + torch("1", "0"),
        Variables{{"WORLD_SIZE", "8"}}, Variables{{"RANK", "1"}}, Variables{{"SLURM_PROCID", "3"}}}) {
    const Launcher launcher = launcher_in(alone);
    EXPECT_FALSE(launcher.is_of_a_job());
    EXPECT_FALSE(launcher.leaves_it_to_rank_0());
    EXPECT_EQ(refusal(launcher), "");
    EXPECT_FALSE(launcher.is_one_of_more_tasks());
  }
  for (const char* size : {"", "x", "0", "-1", "4x", "99999999999999999999"})
    EXPECT_EQ(refusal(launcher_in(open_mpi(size, "0"))), "") << size;
}

TEST(Launcher, WithoutAServerStartsNoRanks) {
  const std::vector<std::pair<Variables, std::string>> cases = {
      {slurm_step("2", "1"), "the job has 2 ranks (SLURM_STEP_NUM_TASKS)"},
      {slurm_step("2", "1") + mpich("2", "1"),
       "\n    srun --mpi=pmix -n 2 ropewalk train a.textproto"},  // srun --mpi=pmi2
      {mpich("2", "1"), "the job has 2 ranks (PMI_SIZE)"},
      {torch("2", "1"), "the job has 2 ranks (WORLD_SIZE)"},
      {slurm_step("1", "0") + torch("2", "1"), "the job has 2 ranks (WORLD_SIZE)"},  // torchrun under srun
      {open_mpi("2", "1") + kTwoHere, "\n    mpirun -n 2 ropewalk train a.textproto"},
      {mpich("2", "1") + kTwoHere, "\n    mpirun -n 2 ropewalk train a.textproto"},
      {torch("2", "1") + kTwoHere, "\n    mpirun -n 2 ropewalk train a.textproto"},
      // ranks that may be on other hosts
      {torch("64", "3") + kTwoHere, "\n    mpirun -n 64 --hostfile HOSTS ropewalk train a.textproto"},
      {mpich("2", "1"), "\n    mpirun -n 2 --hostfile HOSTS ropewalk train a.textproto"},
      {torch("2", "1"), "\n    env --unset=WORLD_SIZE ropewalk train a.textproto"}};
  for (const auto& [variables, said] : cases) {
    const Launcher launcher = launcher_in(variables);
    EXPECT_FALSE(launcher.is_of_a_job());
    EXPECT_TRUE(has(refusal(launcher), said)) << refusal(launcher);
    // Verbs of one rank run in every task, since each task may run a different one.
    EXPECT_FALSE(launcher.leaves_it_to_rank_0());
    EXPECT_EQ(launcher.job_size(), std::nullopt);
  }
}

// The command for a run of one rank, in the environment that was refused, is not refused again.
TEST(Launcher, IsTakenAsOneRankByTheLineForOneRank) {
  const auto variables_after = [](Variables variables) {
    const std::string said = refusal(launcher_in(variables));
    const std::string line = said.substr(said.find("for a run of one rank:\n"));
    if (has(line, " srun -n1 ")) variables = variables + slurm_step("1", "0");
    for (size_t at = 0; (at = line.find("--unset=", at)) != line.npos;) {
      at += 8;
      variables.erase(line.substr(at, line.find(' ', at) - at));
    }
    return variables;
  };
  for (const Variables& variables : {slurm_step("2", "1"), slurm_step("4", "1") + mpich("4", "1"), torch("2", "1"),
                                     open_mpi("2", "1") + torch("4", "1"), slurm_step("2", "1") + torch("2", "1")}) {
    EXPECT_NE(refusal(launcher_in(variables)), "");
    EXPECT_EQ(refusal(launcher_in(variables_after(variables))), "") << refusal(launcher_in(variables));
  }
  EXPECT_TRUE(has(refusal(launcher_in(slurm_step("2", "1"))), "\n    srun -n1 ropewalk train a.textproto"));
}

TEST(Launcher, WhoseServerIsGoneHasLeftItsVariables) {
  EXPECT_FALSE(launcher_in(pmix("0") + open_mpi("1", "0"), false).is_of_a_job());
  const Launcher left_over = launcher_in(pmix("1") + open_mpi("2", "1"), false);
  EXPECT_FALSE(left_over.leaves_it_to_rank_0());
  EXPECT_TRUE(has(refusal(left_over), "no PMIx server"));
  Variables incomplete = pmix("1") + open_mpi("2", "1");
  incomplete.erase("PMIX_NAMESPACE");
  EXPECT_FALSE(launcher_in(incomplete).is_of_a_job());
}

TEST(Launcher, SpeaksOfTasksThatNobodyStarted) {
  const Variables batch = {{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "16"}, {"SLURM_PROCID", "0"}};
  EXPECT_EQ(refusal(launcher_in(batch)), "");
  EXPECT_TRUE(has(note_on(launcher_in(batch), kStart),
                  "the Slurm job around it has 16 tasks (SLURM_NTASKS); to start as many:\n    srun --mpi=pmix -n 16 "
                  "ropewalk train"));
  // The shell of salloc, as a step of its own.
  EXPECT_TRUE(has(note_on(launcher_in(slurm_step("1", "0") + batch), kStart), "16 tasks"));
  for (const Variables& alone : {batch, slurm_step("1", "0") + batch})
    EXPECT_TRUE(launcher_in(alone).is_one_of_more_tasks());
  EXPECT_FALSE(launcher_in(batch + pmix("0") + open_mpi("4", "0")).is_one_of_more_tasks());
}

TEST(Launcher, MustAgreeWithMpi) {
  const auto refuses = [](const Launcher& launcher, int world_size) -> std::string {
    try {
      check_world(launcher, world_size, [] { return kStart; });
    } catch (const ConfigurationError& error) {
      return error.what();
    }
    return "";
  };
  const Launcher slurm = launcher_in(pmix("1") + slurm_step("4", "1"));
  EXPECT_EQ(refuses(slurm, 4), "");
  EXPECT_TRUE(has(refuses(slurm, 1), "4 ranks (SLURM_STEP_NUM_TASKS), but MPI finds 1; start them with a PMIx server"));
  EXPECT_EQ(refuses(launcher_in(pmix("0")), 7), "");
}

TEST(Launcher, StartsOtherRanksAsItStartedThese) {
  const auto way = [](const Variables& variables) { return way_to_start(launcher_in(variables), 3, kStart); };
  EXPECT_EQ(way({}), "\n    mpirun -n 3 --oversubscribe --bind-to none ropewalk train a.textproto");
  // The user has given options that are not known here.
  EXPECT_EQ(way(pmix("1") + slurm_step("4", "1")), "start srun with -n 3 and your other options");
  EXPECT_EQ(way(pmix("1") + open_mpi("4", "1")), "start mpirun with -n 3 and your other options");
  EXPECT_EQ(way(pmix("0") + open_mpi("1", "0")), "start mpirun with -n 3 and your other options");
  // Inside a Slurm job, mpirun's options for this host would be wrong for the others.
  const std::string line = "\n    srun --mpi=pmix -n 3 ropewalk train a.textproto";
  EXPECT_EQ(way({{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "16"}}), line);
  EXPECT_EQ(way({{"SLURM_JOB_ID", "7"}}), line);
  EXPECT_EQ(way({{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "2"}}), "in a Slurm job of 3 tasks or more" + line);
  EXPECT_EQ(way(slurm_step("1", "0") + Variables{{"SLURM_NTASKS", "8"}}), line);
}

TEST(Launcher, KnowsWhetherAServerListens) {
  const int file = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(bind(file, any, length), 0);
  ASSERT_EQ(getsockname(file, any, &length), 0);
  const std::string server = "pmix-server.7;tcp4://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  EXPECT_FALSE(listens(server));
  ASSERT_EQ(listen(file, 1), 0);
  EXPECT_TRUE(listens(server));
  close(file);
  EXPECT_FALSE(listens(server));
  for (const char* other : {"", "pmix.sock:7", "x;tcp6://[::1]:9", "x;tcp4://nowhere:9", "x;tcp4://127.0.0.1:"})
    EXPECT_TRUE(listens(other)) << other;
}

}  // namespace
}  // namespace ropewalk
