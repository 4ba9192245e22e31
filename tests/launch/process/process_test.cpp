// The parts of Process that one process can test: hosts, signals, failures and their exit codes.
#include "launch/process/process.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <thread>

#include "kernels/allowed_cpus.h"
#include "launch/process/hosts.h"
#include "launch/process/signals.h"
#include "parallel/communicator/thread_communicator.h"
#include "tests/support/temporary_directory.h"

namespace ropewalk {
namespace {

const Start kStart = {{"ropewalk", "train", "a.textproto"}, false, 2, 2};
const Launcher kMpirun = {.has_server = true, .size = 3, .variable = "OMPI_COMM_WORLD_SIZE"};
const Launcher kSrun = {.has_server = true, .size = 3, .variable = "SLURM_STEP_NUM_TASKS"};

TEST(Hosts, AreCountedAndWatched) {
  const HostSummary calm = summarize_hosts({{"a", {0}}, {"a", {1}}, {"b", {0, 1}}, {"b", {0, 1}}}, kStart, kMpirun);
  EXPECT_EQ(calm.text, "2 hosts (a x2, b x2)");
  EXPECT_TRUE(calm.warnings.empty());
  EXPECT_EQ(summarize_hosts({{"a", {}}}, kStart, kMpirun).text, "1 host (a x1)");

  const HostSummary crowded =
      summarize_hosts({{"a", {0, 1}}, {"a", {0, 1}}, {"a", {0, 1}}, {"b", {3}}, {"b", {3}}}, kStart, kMpirun);
  ASSERT_EQ(crowded.warnings.size(), 2u);
  EXPECT_EQ(crowded.warnings[0], "warning: 3 ranks share 2 CPUs on a; a rank is one thread, so fewer ranks are faster");
  EXPECT_EQ(crowded.warnings[1], "warning: the 2 ranks on b are bound to 1 CPU; start mpirun with --bind-to none");

  std::vector<Place> many;
  for (int i = 0; i < 20; ++i) many.push_back({fmt::format("node{:02}", i), {0}});
  EXPECT_EQ(summarize_hosts(many, kStart, kMpirun).text.find("20 hosts (node00 x1, "), 0u);
  EXPECT_NE(summarize_hosts(many, kStart, kMpirun).text.find("node07 x1, ...)"), std::string::npos);
  EXPECT_FALSE(allowed_cpus().empty());

  constexpr int64_t kGiB = int64_t{1} << 30;
  const HostSummary full = summarize_hosts({{"a", {0}, 3 * kGiB, 5 * kGiB},
                                            {"a", {1}, 3 * kGiB, 5 * kGiB},
                                            {"b", {0}, 3 * kGiB, 5 * kGiB},
                                            {"c", {0}, kGiB, 0}},
                                           kStart, kMpirun);
  ASSERT_EQ(full.warnings.size(), 1u);
  EXPECT_EQ(full.warnings[0].find("warning: 2 ranks on a will need about 6.0 GiB, and it has 5.0 GiB left"), 0u);
}

TEST(Hosts, ThatAreCrowdedAreToldWhatHelps) {
  const auto warning = [](const std::vector<Place>& places, const Launcher& launcher, int cpus = 2) {
    const std::vector<std::string> all = summarize_hosts(places, {{"ropewalk"}, false, cpus, cpus}, launcher).warnings;
    return all.size() == 1 ? all.front() : std::to_string(all.size()) + " warnings";
  };
  const Place free{"a", {0, 1}, 0, 0, false}, bound{"a", {0}, 0, 0, true}, alone{"a", {0}, 0, 0, false};
  const std::string keeps = ", and a rank that waits inside MPI keeps its CPU busy; ";
  for (const std::vector<Place>& places : {std::vector{free, free, free}, {free, free, free, {"b", {7}}}}) {
    EXPECT_EQ(warning(places, kMpirun),
              "warning: 3 ranks share 2 CPUs on a" + keeps + "start mpirun with --mca mpi_yield_when_idle 1");
    EXPECT_EQ(warning(places, kSrun), "warning: 3 ranks share 2 CPUs on a" + keeps +
                                          "start srun with OMPI_MCA_mpi_yield_when_idle=1 in its environment");
  }
  EXPECT_EQ(warning({bound, bound}, kMpirun),
            "warning: the 2 ranks on a are bound to 1 CPU; start mpirun with --bind-to none");
  EXPECT_EQ(warning({bound, bound}, kSrun),
            "warning: the 2 ranks on a are bound to 1 CPU; start srun with --cpu-bind=none");
  EXPECT_EQ(warning({alone, alone}, kMpirun), "warning: the 2 ranks on a are bound to 1 CPU" + keeps +
                                                  "start mpirun with --bind-to none --mca mpi_yield_when_idle 1");
  EXPECT_EQ(warning({alone, alone}, kSrun),
            "warning: the 2 ranks on a are bound to 1 CPU" + keeps +
                "start srun with --cpu-bind=none and OMPI_MCA_mpi_yield_when_idle=1 in its environment");
  EXPECT_EQ(warning({alone, alone}, kMpirun, 1),
            "warning: 2 ranks share 1 CPU on a" + keeps + "start mpirun with --mca mpi_yield_when_idle 1");
}

TEST(Hosts, MayLimitTheTimeOfTheirCpus) {
  const auto warnings = [](std::vector<Place> places, int cpus) {
    return summarize_hosts(places, {{"ropewalk"}, false, cpus, cpus}, kMpirun).warnings;
  };
  const Place limited{"a", {0, 1, 2, 3}, 0, 0, true, 2};
  EXPECT_TRUE(warnings({limited, limited}, 2).empty());
  EXPECT_EQ(warnings({limited, limited, limited}, 2),
            std::vector<std::string>{"warning: 3 ranks share 2 CPUs on a (the limit of a control group); a rank is one "
                                     "thread, so fewer ranks are faster"});
  const Place one{"a", {3}, 0, 0, true, 1};  // another CPU would not help
  EXPECT_EQ(
      warnings({one, one, {"b", {7}}}, 8),
      std::vector<std::string>{"warning: 2 ranks share 1 CPU on a; a rank is one thread, so fewer ranks are faster"});
}

TEST(Hosts, TellHowTheirRanksCompute) {
  const auto with = [](const std::string& host, const Arithmetic& arithmetic) {
    return Place{.host = host, .cpus = {}, .arithmetic = arithmetic};
  };
  const Place tiles = with("a", {"bf16 on AMX", ""}), dots = with("b", {"bf16 on AVX512-BF16", ""}),
              refused = with("b", {"bf16 on AVX512-BF16", "AMX: not permitted"});
  const auto summary = [](const std::vector<Place>& places) { return summarize_hosts(places, kStart, kMpirun); };
  EXPECT_EQ(summary({tiles, tiles}).arithmetic, "bf16 on AMX");
  EXPECT_EQ(summary({dots, tiles, tiles}).arithmetic, "2 x bf16 on AMX, 1 x bf16 on AVX512-BF16");
  EXPECT_TRUE(summary({dots, tiles, tiles}).warnings.empty());
  Place elsewhere = refused;
  elsewhere.host = "c";
  EXPECT_EQ(summary({tiles, refused, refused, elsewhere}).warnings,
            std::vector<std::string>{"warning: b, c cannot use AMX: not permitted; ranks there compute more slowly"});
}

TEST(Hosts, HaveTheMemoryThatAControlGroupLeaves) {
  TemporaryDirectory folder;
  write_file(folder / "membership", "0::/\n");
  EXPECT_GT(available_memory({folder / "membership", folder.path()}), 5000);
  write_file(folder / "memory.max", "5000\n");
  write_file(folder / "memory.current", "2000\n");
  EXPECT_EQ(available_memory({folder / "membership", folder.path()}), 3000);
}

TEST(Hosts, ComeFromEveryRankInOrderToTheFirst) {
  ThreadWorld world(3, std::chrono::seconds(20));
  std::vector<std::vector<Place>> seen(3);
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < 3; ++rank)
    ranks.emplace_back([&, rank] {
      const Place mine{
          fmt::format("host{}", rank % 2),         allowed_cpus(), 1000 + rank, available_memory(), rank == 1, rank,
          {fmt::format("way {}", rank), "refused"}};
      seen[rank] = gather_places(*world.communicator(rank), mine);
    });
  for (std::thread& rank : ranks) rank.join();
  ASSERT_EQ(seen[0].size(), 3u);
  for (size_t rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(seen[0][rank].host, fmt::format("host{}", rank % 2));
    EXPECT_EQ(seen[0][rank].cpus, allowed_cpus());
    EXPECT_EQ(seen[0][rank].memory_needed, static_cast<int64_t>(1000 + rank));
    EXPECT_GT(seen[0][rank].memory_available, 0);
    EXPECT_EQ(seen[0][rank].yields, rank == 1);
    EXPECT_EQ(seen[0][rank].cpu_quota, static_cast<int>(rank));
    EXPECT_EQ(seen[0][rank].arithmetic.text, fmt::format("way {}", rank));
    EXPECT_EQ(seen[0][rank].arithmetic.refused, "refused");
  }
}

TEST(TextOfRankZero, ReachesAllAsTextOrAsTheError) {
  for (const ExitCode code : {ExitCode::kDone, ExitCode::kConfiguration, ExitCode::kData, ExitCode::kCheckpoint}) {
    const bool fails = code != ExitCode::kDone;
    ThreadWorld world(3, std::chrono::seconds(20));
    std::vector<std::string> seen(3);
    std::vector<std::thread> ranks;
    for (int rank = 0; rank < 3; ++rank)
      ranks.emplace_back([&, rank] {
        try {
          seen[rank] = text_of_rank_0(*world.communicator(rank), [&]() -> std::string {
            EXPECT_EQ(rank, 0);
            if (code == ExitCode::kConfiguration) throw ConfigurationError("no such file");
            if (fails) throw Error(code, "no such file");
            return std::string("te\0xt", 5);
          });
        } catch (const Error& error) {
          seen[rank] = error.what();
          EXPECT_EQ(error.code(), code);
          EXPECT_EQ(dynamic_cast<const ConfigurationError*>(&error) != nullptr, code == ExitCode::kConfiguration);
        }
      });
    for (std::thread& rank : ranks) rank.join();
    for (const std::string& text : seen) EXPECT_EQ(text, fails ? "no such file" : std::string("te\0xt", 5));
  }
}

TEST(StopSignals, SetTheFlagAndAreGivenBack) {
  for (const int signal : {SIGINT, SIGHUP})
    std::signal(signal, SIG_DFL);  // may be ignored, depending on how the tests were started
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) {
    const StopSignals signals;
    EXPECT_FALSE(StopSignals::requested());
    std::raise(signal);
    EXPECT_TRUE(StopSignals::requested());
    EXPECT_EQ(StopSignals::signal(), signal);
    std::raise(SIGPIPE);  // ignored
    EXPECT_EQ(StopSignals::signal(), signal);
  }
  struct sigaction action {};
  sigaction(SIGTERM, nullptr, &action);
  EXPECT_EQ(action.sa_handler, SIG_DFL);
  sigaction(SIGPIPE, nullptr, &action);
  EXPECT_EQ(action.sa_handler, SIG_DFL);
}

TEST(StopSignals, LeaveWhatIsIgnored) {
  for (const int signal : {SIGHUP, SIGINT}) {  // ignored by nohup, and in a script's background jobs
    std::signal(signal, SIG_IGN);
    {
      const StopSignals signals;
      std::raise(signal);
      EXPECT_FALSE(StopSignals::requested());
      std::raise(SIGTERM);  // a second SIGTERM or SIGINT would kill, but not an ignored SIGINT
      std::raise(signal);
      EXPECT_EQ(StopSignals::signal(), SIGTERM);
    }
    EXPECT_EQ(std::signal(signal, SIG_DFL), SIG_IGN);
  }
}

TEST(StopSignals, BreakAWaitForInputWhereAsked) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::signal(SIGINT, SIG_DFL);
  const StopSignals signals(StopSignals::Waits::kInterrupted);
  for (const int signal : {SIGINT, SIGTERM, SIGTERM}) {  // a second signal does not kill either
    std::raise(signal);                                  // just before the wait, which must be interrupted all the same
    char byte;
    EXPECT_EQ(read(ends[0], &byte, 1), -1);
    EXPECT_EQ(errno, EINTR);
    EXPECT_EQ(StopSignals::signal(), signal);
  }
  close(ends[0]);
  close(ends[1]);
}

TEST(StopSignalsDeathTest, TheSecondTermOrIntKills) {
  std::signal(SIGINT, SIG_DFL);
  const auto raise_after = [](int first, int second) {
    const StopSignals signals;
    std::raise(first);
    std::raise(second);
  };
  EXPECT_EXIT(raise_after(SIGTERM, SIGTERM), testing::KilledBySignal(SIGTERM), "");
  EXPECT_EXIT(raise_after(SIGTERM, SIGINT), testing::KilledBySignal(SIGINT), "");
  raise_after(SIGUSR1, SIGTERM);  // a batch system's warning, then its request to end
  raise_after(SIGUSR1, SIGUSR1);
  raise_after(SIGHUP, SIGHUP);  // from a shell and from its terminal
}

template <typename Exception>
Failure failure_from(const Exception& exception) {
  return failure_of(std::make_exception_ptr(exception));
}

TEST(Failures, HaveTheCodesOfTheTable) {
  EXPECT_EQ(failure_from(ConfigurationError("x")).code, ExitCode::kConfiguration);
  EXPECT_EQ(failure_from(DataError("x")).code, ExitCode::kData);
  EXPECT_EQ(failure_from(CheckpointError("x")).code, ExitCode::kCheckpoint);
  EXPECT_EQ(failure_from(CommunicationError("x")).code, ExitCode::kCommunication);
  EXPECT_EQ(failure_from(NumericalError("x")).code, ExitCode::kNumerical);
  EXPECT_EQ(failure_from(DeviceError("x")).code, ExitCode::kDevice);
  EXPECT_EQ(failure_from(std::runtime_error("x")).code, ExitCode::kFailure);
  EXPECT_EQ(failure_from(DataError("the message")).message, "the message");

  EXPECT_EQ(failure_from(std::bad_alloc()).code, ExitCode::kDevice);
  EXPECT_NE(failure_from(std::bad_alloc()).message.find("out of host memory; lower training.micro_batch"),
            std::string::npos);
  EXPECT_NE(failure_from(std::out_of_range("vector::at")).message.find("This is a bug in ropewalk"), std::string::npos);
  try {
    CHECK(1 + 1 == 3, "arithmetic");
  } catch (...) {
    const Failure failure = failure_of(std::current_exception());
    EXPECT_EQ(failure.code, ExitCode::kFailure);
    EXPECT_NE(failure.message.find("bug"), std::string::npos);
  }
}

TEST(Process, OfOneRankTellsItsFailureAndReturnsItsCode) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(run_process({},
                        [](Process& process) {
                          EXPECT_EQ(process.size(), 1);
                          return ExitCode::kStopped;
                        }),
            ExitCode::kStopped);
  EXPECT_EQ(run_process({}, [](Process&) -> ExitCode { throw DataError("empty file"); }), ExitCode::kData);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "ropewalk: empty file\n");
}

}  // namespace
}  // namespace ropewalk
