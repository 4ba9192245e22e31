// Whichever system call fails, and wherever the job is killed or the power fails: afterwards the old or the new
// checkpoint exists and is complete.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "parallel/communicator/thread_communicator.h"
#include "tests/support/ranks.h"
#include "tests/support/small_disk.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/checkpoint/far_backend.h"
#include "tests/trainer/checkpoint/sharded_state.h"
#include "tests/trainer/files/faulty_file_system.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/manifest.h"

namespace ropewalk {
namespace {

using World = std::shared_ptr<Communicator>;
using FilesOfRank = std::function<FileSystem&(int rank)>;
using Mode = CallCounter::Mode;

constexpr MeshShape kMesh{2, 1, 1};

// A save when an old checkpoint exists: of another step, or of the same.
struct Scenario {
  const char* name;
  int64_t old_step, new_step, keep;
};
const Scenario kScenarios[] = {{"next step, the old one removed", 1, 2, 1}, {"the same step replaced", 5, 5, 3}};
constexpr uint64_t kOldSeed = 1, kNewSeed = 2;

int no_fault(const char*) { return 0; }

// Saves on both ranks, and removes the older checkpoints. Returns the error message of each rank, empty on success.
std::vector<std::string> save(const std::filesystem::path& directory, int64_t step, uint64_t seed, int64_t keep,
                              const FilesOfRank& files) {
  std::vector<std::string> messages(2);
  run_ranks(2, [&](const World& world) {
    Mesh mesh(kMesh, world);
    FarKernels kernels;
    ShardedState state(mesh, kernels, DType::kF32);
    state.fill(seed);
    try {
      FileSystem& mine = files(world->rank());
      save_checkpoint(directory, {step, 8 * step, 64 * step}, state.tensors(), {"", {}, some_source_files()}, mesh,
                      kernels, mine);
      remove_old_checkpoints(directory, step, keep, mesh, mine);
    } catch (const CheckpointError& error) {
      messages[static_cast<size_t>(world->rank())] = error.what();
    }
  });
  return messages;
}

void save_without_fault(const std::filesystem::path& directory, int64_t step, uint64_t seed, int64_t keep) {
  FaultyFileSystem files(no_fault);  // skips fsync on the real disk
  for (const std::string& message : save(directory, step, seed, keep, [&](int) -> FileSystem& { return files; })) {
    EXPECT_EQ(message, "");
  }
}

enum class Found { kNeither, kOld, kNew };

// Which of the two checkpoints loads, with all its values.
Found found_in(const std::filesystem::path& directory, const Scenario& scenario) {
  Found found = Found::kNeither;
  ThreadWorld world(1, std::chrono::seconds(60));
  Mesh mesh({1, 1, 1}, world.communicator(0));
  FarKernels kernels;
  ShardedState state(mesh, kernels, DType::kF32);
  try {
    const auto loaded = load_newest_checkpoint(directory, state.tensors(), mesh, kernels, [](const std::string&) {});
    if (!loaded) return Found::kNeither;
    if (loaded->progress.step == scenario.new_step && state.differences(kNewSeed) == 0) found = Found::kNew;
    if (loaded->progress.step == scenario.old_step && state.differences(kOldSeed) == 0) found = Found::kOld;
  } catch (const CheckpointError&) {
  }
  return found;
}

// Expects that every directory named like a checkpoint is a complete one.
void expect_all_whole(const std::filesystem::path& directory) {
  ThreadWorld world(1, std::chrono::seconds(60));
  Mesh mesh({1, 1, 1}, world.communicator(0));
  FarKernels kernels;
  ShardedState state(mesh, kernels, DType::kF32);
  for (const CheckpointPath& checkpoint : list_checkpoints(directory)) {
    EXPECT_NO_THROW(load_checkpoint(checkpoint.path, state.tensors(), mesh, kernels)) << checkpoint.path;
  }
}

// Expects that the next save succeeds and removes all leftovers.
void expect_next_save_works(const std::filesystem::path& directory) {
  save_without_fault(directory, 9, 3, 1);
  EXPECT_EQ(list_directory(directory), (std::vector<std::string>{"step-00000009"}));
}

// Makes a system call of one rank fail (by `mode` also the calls after it): the first call in the first save, the
// second in the next, until a save has fewer calls. Returns the number of saves that failed.
int fail_every_call(const Scenario& scenario, int failing_rank, Mode mode, int error, const std::string& reason) {
  int failed_saves = 0;
  for (int64_t call = 0;; ++call) {
    SCOPED_TRACE(fmt::format("{}: call {} of rank {} fails", scenario.name, call, failing_rank));
    const TemporaryDirectory directory;
    save_without_fault(directory.path(), scenario.old_step, kOldSeed, 0);
    CallCounter counter(call, mode, error);
    FaultyFileSystem good(no_fault), faulty([&](const char*) { return counter(); });
    const std::vector<std::string> messages =
        save(directory.path(), scenario.new_step, kNewSeed, scenario.keep,
             [&](int rank) -> FileSystem& { return rank == failing_rank ? static_cast<FileSystem&>(faulty) : good; });
    if (!counter.reached()) return failed_saves;

    EXPECT_EQ(messages[0], messages[1]);
    const Found found = found_in(directory.path(), scenario);
    EXPECT_NE(found, Found::kNeither) << messages[0];
    const bool saved = messages[0].empty() || messages[0].find("could not be removed") != std::string::npos;
    if (saved) {
      EXPECT_EQ(found, Found::kNew);
    }
    if (!messages[0].empty()) {
      ++failed_saves;
      EXPECT_NE(messages[0].find(reason), std::string::npos) << messages[0];
      EXPECT_NE(messages[0].find(fmt::format("rank {}: ", failing_rank)), std::string::npos) << messages[0];
      EXPECT_NE(messages[0].find(directory.path().string()), std::string::npos) << messages[0];
    }
    if (!saved) {
      // If the new checkpoint exists, only the last call of the commit, the fsync after the rename, can have failed.
      if (found == Found::kNew) {
        EXPECT_NE(messages[0].find(" " + directory.path().string() + ": "), std::string::npos) << messages[0];
      }
      if (mode == Mode::kOnce || failing_rank != 0) {
        EXPECT_TRUE(std::filesystem::exists(checkpoint_path(directory.path(), scenario.old_step))) << messages[0];
        EXPECT_FALSE(std::filesystem::exists(temporary_path(directory.path(), scenario.new_step))) << messages[0];
      }
    }
    expect_next_save_works(directory.path());
    if (testing::Test::HasFailure()) return failed_saves;
  }
}

TEST(CheckpointFaults, EveryCallThatFailsOnceLeavesOneWhole) {
  for (const Scenario& scenario : kScenarios) {
    EXPECT_GT(fail_every_call(scenario, 0, Mode::kOnce, EIO, "Input/output error"), 10);
    EXPECT_GT(fail_every_call(scenario, 1, Mode::kOnce, EIO, "Input/output error"), 10);
  }
}

TEST(CheckpointFaults, EveryCallFromWhichOnTheDiskIsFullLeavesOneWhole) {
  for (const Scenario& scenario : kScenarios) {
    EXPECT_GT(fail_every_call(scenario, 0, Mode::kFromThereOn, ENOSPC, "No space left on device"), 10);
    EXPECT_GT(fail_every_call(scenario, 1, Mode::kFromThereOn, ENOSPC, "No space left on device"), 10);
  }
}

TEST(CheckpointFaults, TheFirstFailingRankIsNamed) {
  const TemporaryDirectory directory;
  FaultyFileSystem full([](const char* call) { return call == std::string("write") ? ENOSPC : 0; });
  const auto messages = save(directory.path(), 1, 1, 0, [&](int) -> FileSystem& { return full; });
  EXPECT_EQ(messages[0], messages[1]);
  EXPECT_NE(messages[0].find("step-00000001 was not saved: rank 0: cannot write"), std::string::npos) << messages[0];
  EXPECT_NE(messages[0].find("checkpoint.keep"), std::string::npos) << messages[0];
}

// All ranks stop at a call of any rank: nothing more reaches the disk.
TEST(CheckpointFaults, AJobThatIsKilledAtAnyCallLeavesOneWhole) {
  for (const Scenario& scenario : kScenarios) {
    for (int64_t call = 0;; ++call) {
      SCOPED_TRACE(fmt::format("{}: stopped at call {}", scenario.name, call));
      const TemporaryDirectory directory;
      save_without_fault(directory.path(), scenario.old_step, kOldSeed, 0);
      CallCounter counter(call, Mode::kFromThereOn, EIO);
      FaultyFileSystem stopped([&](const char*) { return counter(); });
      save(directory.path(), scenario.new_step, kNewSeed, scenario.keep, [&](int) -> FileSystem& { return stopped; });
      if (!counter.reached()) break;
      EXPECT_NE(found_in(directory.path(), scenario), Found::kNeither);
      expect_all_whole(directory.path());
      expect_next_save_works(directory.path());
      ASSERT_FALSE(HasFailure());
    }
  }
}

TEST(CheckpointFaults, APowerCutAtAnyCallLeavesOneWhole) {
  for (const Scenario& scenario : kScenarios) {
    int64_t found_old = 0, found_new = 0;
    for (int64_t call = 0;; ++call) {
      SCOPED_TRACE(fmt::format("{}: power cut at call {}", scenario.name, call));
      const TemporaryDirectory directory;
      save_without_fault(directory.path(), scenario.old_step, kOldSeed, 0);
      PowerCutFileSystem disk(directory.path(), call);
      const auto messages =
          save(directory.path(), scenario.new_step, kNewSeed, scenario.keep, [&](int) -> FileSystem& { return disk; });
      const bool cut = disk.reached();
      disk.cut();
      const Found found = found_in(directory.path(), scenario);
      EXPECT_NE(found, Found::kNeither);
      if (messages[0].empty()) {
        EXPECT_EQ(found, Found::kNew);  // a save that reported success is durable
      }
      (found == Found::kOld ? found_old : found_new) += 1;
      expect_next_save_works(directory.path());
      ASSERT_FALSE(HasFailure());
      if (!cut) break;
    }
    EXPECT_GT(found_old, 10);
    EXPECT_GT(found_new, 2);
  }
}

// The same with a real process and a real signal.
TEST(CheckpointFaults, AProcessThatIsKilledAtAnyCallLeavesOneWhole) {
  const Scenario& scenario = kScenarios[0];
  const TemporaryDirectory directory;
  for (int64_t call = 0;; ++call) {
    SCOPED_TRACE(fmt::format("killed at call {}", call));
    std::filesystem::remove_all(directory.path());
    save_without_fault(directory.path(), scenario.old_step, kOldSeed, 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      CallCounter counter(call, Mode::kOnce, 1);
      FaultyFileSystem deadly([&](const char*) { return counter() ? raise(SIGKILL) : 0; });
      ThreadWorld world(1, std::chrono::seconds(60));
      Mesh mesh({1, 1, 1}, world.communicator(0));
      FarKernels kernels;
      ShardedState state(mesh, kernels, DType::kF32);
      state.fill(kNewSeed);
      save_checkpoint(directory.path(), {scenario.new_step, 0, 0}, state.tensors(), {"", {}, some_source_files()}, mesh,
                      kernels, deadly);
      remove_old_checkpoints(directory.path(), scenario.new_step, scenario.keep, mesh, deadly);
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_NE(found_in(directory.path(), scenario), Found::kNeither);
    expect_all_whole(directory.path());
    if (WIFEXITED(status)) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
      EXPECT_GT(call, 20);
      break;
    }
    ASSERT_EQ(WTERMSIG(status), SIGKILL);
    ASSERT_FALSE(HasFailure());
  }
}

TEST(CheckpointFaults, InterruptedAndShortCallsAreContinued) {
  const TemporaryDirectory directory;
  run_ranks(2, [&](const World& world) {
    Mesh mesh(kMesh, world);
    FarKernels kernels;
    ShardedState state(mesh, kernels, DType::kF32);
    ReluctantFileSystem files(7, 5);
    state.fill(4);
    save_checkpoint(directory.path(), {1, 1, 1}, state.tensors(), {"", {}, some_source_files()}, mesh, kernels, files);
    state.fill(5);
    EXPECT_TRUE(load_newest_checkpoint(
        directory.path(), state.tensors(), mesh, kernels, [](const std::string& line) { ADD_FAILURE() << line; },
        files));
    EXPECT_EQ(state.differences(4), 0);
  });
}

TEST(CheckpointFaults, AWriteOfNothingIsAnErrorAndNotALoop) {
  class Idle : public FileSystem {
    ssize_t write(int, const void*, size_t) override { return 0; }
  };
  Idle files;
  const TemporaryDirectory directory;
  EXPECT_NE(save(directory.path(), 1, 1, 0, [&](int) -> FileSystem& { return files; })[0], "");
}

TEST(CheckpointFaults, EveryReadThatFailsMakesAllRanksUseTheOlderOne) {
  const TemporaryDirectory directory;
  save_without_fault(directory.path(), 1, 1, 0);
  save_without_fault(directory.path(), 2, 2, 0);
  int older = 0;
  for (int64_t call = 0;; ++call) {
    CallCounter counter(call, Mode::kOnce, EIO);
    FaultyFileSystem good(no_fault), faulty([&](const char*) { return counter(); });
    int64_t steps[2] = {0, 0};
    int warnings[2] = {0, 0};
    run_ranks(2, [&](const World& world) {
      const int rank = world->rank();
      Mesh mesh(kMesh, world);
      FarKernels kernels;
      ShardedState state(mesh, kernels, DType::kF32);
      const auto loaded = load_newest_checkpoint(
          directory.path(), state.tensors(), mesh, kernels, [&](const std::string&) { ++warnings[rank]; },
          rank == 1 ? static_cast<FileSystem&>(faulty) : good);
      ASSERT_TRUE(loaded);
      EXPECT_EQ(state.differences(static_cast<uint64_t>(loaded->progress.step)), 0);
      steps[rank] = loaded->progress.step;
    });
    EXPECT_EQ(steps[0], steps[1]);
    EXPECT_EQ(warnings[0], steps[0] == 1 ? 2 : 0);  // the refused one and the used one
    EXPECT_EQ(warnings[0], warnings[1]);
    older += steps[0] == 1;
    if (!counter.reached()) break;
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(older, 5);
}

TEST(CheckpointFaults, ADeviceThatFailsOnOneRankFailsOnAll) {
  class Broken : public FarBackend {
    void download(const Tensor&, void*) override { throw DeviceError("the device fell off the bus"); }
  };
  const TemporaryDirectory directory;
  std::string messages[2];
  run_ranks(2, [&](const World& world) {
    Mesh mesh(kMesh, world);
    FarKernels good;
    Kernels broken(std::make_unique<Broken>());
    ShardedState state(mesh, good, DType::kF32);
    state.fill(1);
    try {
      save_checkpoint(directory.path(), {1, 1, 1}, state.tensors(), {"", {}, some_source_files()}, mesh,
                      world->rank() == 1 ? broken : static_cast<Kernels&>(good));
    } catch (const CheckpointError& error) {
      messages[world->rank()] = error.what();
    }
  });
  EXPECT_NE(messages[0].find("rank 1: the device fell off the bus"), std::string::npos) << messages[0];
  EXPECT_EQ(messages[0], messages[1]);
  EXPECT_TRUE(list_directory(directory.path()).empty());
}

TEST(CheckpointFaults, BoxesThatDoNotMakeUpTheirTensorAreNotSaved) {
  const TemporaryDirectory directory;
  const auto message_after = [&](const std::function<void(std::vector<StateTensor>&)>& change) {
    std::string message;
    run_ranks(2, [&](const World& world) {
      Mesh mesh(kMesh, world);
      FarKernels kernels;
      ShardedState state(mesh, kernels, DType::kF32);
      if (world->rank() == 1) change(state.tensors());
      try {
        save_checkpoint(directory.path(), {1, 1, 1}, state.tensors(), {"", {}, some_source_files()}, mesh, kernels);
      } catch (const CheckpointError& error) {
        if (world->rank() == 1) message = error.what();
      }
    });
    return message;
  };
  EXPECT_EQ(message_after([](auto&) {}), "");
  EXPECT_NE(message_after([](auto& tensors) { tensors[1].saved_here = false; }).find("are in no file"),
            std::string::npos);
  EXPECT_NE(message_after([](auto& tensors) { tensors.push_back(tensors[1]); }).find("are saved more than once"),
            std::string::npos);
  EXPECT_NE(message_after([](auto& tensors) { tensors[0].shape = {99, 10}; }).find("ranks save"), std::string::npos);
}

// A real full disk. The old checkpoint stays; the new one is saved when there is space again.
TEST(CheckpointFaults, ADiskThatIsFullLeavesTheOldOne) {
  const TemporaryDirectory directory;
  const SmallDisk disk(directory.path(), "96k");
  if (!disk.mounted()) GTEST_SKIP() << "only root can mount";
  save_without_fault(directory.path(), 1, kOldSeed, 1);
  write_file(directory / "filler", std::string(48 << 10, 'x'));
  const auto messages = save(directory.path(), 2, kNewSeed, 1, [](int) -> FileSystem& { return real_file_system(); });
  EXPECT_NE(messages[0].find("No space left on device"), std::string::npos) << messages[0];
  EXPECT_EQ(messages[0], messages[1]);
  EXPECT_EQ(list_directory(directory.path()), (std::vector<std::string>{"filler", "step-00000001"}));
  EXPECT_EQ(found_in(directory.path(), {"", 1, 2, 1}), Found::kOld);
  std::filesystem::remove(directory / "filler");
  EXPECT_EQ(save(directory.path(), 2, kNewSeed, 1, [](int) -> FileSystem& { return real_file_system(); })[0], "");
  EXPECT_EQ(found_in(directory.path(), {"", 1, 2, 1}), Found::kNew);
}

TEST(CheckpointFaults, WhatCannotBeRemovedOfALeftoverStepsAside) {
  const TemporaryDirectory directory;
  for (const char* aside : {"step-00000001.aside", "step-00000001.aside-2"}) {
    std::filesystem::create_directories(directory / "step-00000001.tmp" / "mine" / "deeper");
    write_file(directory / "step-00000001.tmp" / "rank-00000.safetensors", "half");
    save_without_fault(directory.path(), 1, kNewSeed, 0);
    EXPECT_EQ(list_directory(directory / aside), (std::vector<std::string>{"mine"}));
    EXPECT_EQ(found_in(directory.path(), {"", 0, 1, 1}), Found::kNew);
  }
}

TEST(CheckpointFaults, AFileInTheWayIsNamed) {
  const TemporaryDirectory directory;
  write_file(directory / "file", "");
  const auto messages =
      save(directory / "file" / "run", 1, 1, 0, [](int) -> FileSystem& { return real_file_system(); });
  EXPECT_NE(messages[1].find((directory / "file").string()), std::string::npos) << messages[1];
  EXPECT_NE(messages[1].find("File exists"), std::string::npos) << messages[1];
}

}  // namespace
}  // namespace ropewalk
