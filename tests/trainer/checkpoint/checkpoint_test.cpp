// A load returns what was saved: on the same mesh, on any other mesh, on devices, in other precisions. Another model's
// checkpoint is refused.
#include "trainer/checkpoint/checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>

#include "kernels/reference_backend.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/checkpoint/far_backend.h"
#include "tests/trainer/checkpoint/sharded_state.h"
#include "trainer/checkpoint/manifest.h"

namespace ropewalk {
namespace {

using World = std::shared_ptr<Communicator>;

void ignore(const std::string&) {}
const TokenizerOfData kTokenizer{{"a \"name\".json", "0123abcd", 300}, 7};
const std::vector<DataIdentity> kData = {{"text", 100, 2000, 0x12345678, 0xfedcba98}, {"more", 1, 0, 0, 0xffffffff}};
TrainingProgress progress_of(int64_t step) { return {step, 8 * step, 4096 * step}; }

// Saves fill(step) on this mesh as step `step`, then keeps only the newest `keep` checkpoints.
void save_on(MeshShape shape, const std::filesystem::path& directory, int64_t step, int64_t keep = 0,
             DType dtype = DType::kF32, Sharding sharding = Sharding::kOverGradientGroup,
             Rounding rounding = Rounding::kToFloat) {
  run_ranks(shape.size(), [&](const World& world) {
    Mesh mesh(shape, world);
    FarKernels kernels;
    ShardedState state(mesh, kernels, dtype, sharding);
    state.fill(static_cast<uint64_t>(step), rounding);
    RunDescription run{.config_text = "config of a run\n", .data = kData, .tokenizer = kTokenizer};
    if (world->rank() == 0) run.source_files = some_source_files();
    save_checkpoint(directory, progress_of(step), state.tensors(), run, mesh, kernels);
    remove_old_checkpoints(directory, step, keep, mesh);
  });
}

// Loads the newest checkpoint on this mesh, and expects fill(step).
void expect_loads(MeshShape shape, const std::filesystem::path& directory, int64_t step, DType dtype = DType::kF32,
                  Sharding sharding = Sharding::kOverGradientGroup, Rounding rounding = Rounding::kToFloat) {
  run_ranks(shape.size(), [&](const World& world) {
    Mesh mesh(shape, world);
    FarKernels kernels;
    ShardedState state(mesh, kernels, dtype, sharding);
    state.fill(999);
    const auto loaded = load_newest_checkpoint(directory, state.tensors(), mesh, kernels,
                                               [](const std::string& line) { ADD_FAILURE() << line; });
    ASSERT_TRUE(loaded);
    EXPECT_EQ(loaded->progress, progress_of(step));
    EXPECT_EQ(loaded->run.config_text, "config of a run\n");
    EXPECT_EQ(loaded->run.data, kData);
    EXPECT_EQ(loaded->run.tokenizer, kTokenizer);
    EXPECT_EQ(loaded->run.source_files, world->rank() == 0 ? some_source_files() : std::vector<SourceFile>());
    EXPECT_EQ(state.differences(static_cast<uint64_t>(step), rounding), 0);
  });
}

const MeshShape kMeshes[] = {{1, 1, 1}, {2, 1, 1}, {1, 2, 1}, {1, 1, 2}, {3, 1, 1}, {1, 1, 3}, {4, 1, 1},
                             {1, 1, 4}, {2, 1, 2}, {1, 2, 2}, {1, 1, 5}, {2, 2, 2}, {8, 1, 1}, {1, 1, 8}};

TEST(Checkpoint, EveryMeshLoadsWhatEveryMeshSaved) {
  for (const MeshShape& saver : kMeshes) {
    const TemporaryDirectory directory;
    save_on(saver, directory.path(), 3);
    for (const MeshShape& loader : kMeshes) {
      SCOPED_TRACE(fmt::format("{}x{}x{} loads what {}x{}x{} saved", loader.data_parallel, loader.context_parallel,
                               loader.tensor_parallel, saver.data_parallel, saver.context_parallel,
                               saver.tensor_parallel));
      expect_loads(loader, directory.path(), 3);
      ASSERT_FALSE(HasFailure());
    }
  }
}

TEST(Checkpoint, ReplicasThatDoNotSaveAreFilled) {
  const TemporaryDirectory directory;
  save_on({2, 1, 2}, directory.path(), 1, 0, DType::kF32, Sharding::kReplicated);
  EXPECT_FALSE(std::filesystem::exists(directory / "step-00000001" / "rank-00002.safetensors"));
  expect_loads({2, 1, 2}, directory.path(), 1, DType::kF32, Sharding::kReplicated);
  expect_loads({2, 2, 1}, directory.path(), 1, DType::kF32, Sharding::kReplicated);
  expect_loads({1, 1, 3}, directory.path(), 1);
}

TEST(Checkpoint, PrecisionIsConverted) {
  const TemporaryDirectory narrow, wide;
  save_on({2, 1, 1}, narrow.path(), 1, 0, DType::kF32);
  expect_loads({1, 1, 2}, narrow.path(), 1, DType::kF64);
  save_on({2, 1, 1}, wide.path(), 1, 0, DType::kF64, Sharding::kOverGradientGroup, Rounding::kNone);
  expect_loads({1, 1, 2}, wide.path(), 1, DType::kF64, Sharding::kOverGradientGroup, Rounding::kNone);
  expect_loads({1, 1, 2}, wide.path(), 1, DType::kF32, Sharding::kOverGradientGroup, Rounding::kNone);
}

// Pieces of more than a chunk of 8 MiB; narrow and wide rows; a range of columns that another rank loads.
TEST(Checkpoint, LargeTensorsGoInChunks) {
  const TemporaryDirectory directory;
  const Shape shape{1100, 2500};
  const auto state_of = [&](const Mesh& mesh, std::vector<float>& values) {
    const Partition columns = Partition::even(shape[1], mesh.shape().tensor_parallel);
    const Box box{0, shape[0], columns.begin(mesh.tensor_rank()), columns.end(mesh.tensor_rank())};
    values.assign(static_cast<size_t>(box.elements()), 0);
    return StateTensor{"model.w", shape, box, Tensor(values.data(), DType::kF32, Device{}, {box.rows(), box.columns()}),
                       true};
  };
  const auto value_at = [&](const Box& box, size_t i) {
    const auto index = static_cast<int64_t>(i);
    return static_cast<float>((box.row_begin + index / box.columns()) * shape[1] + box.column_begin +
                              index % box.columns());
  };
  run_ranks(1, [&](const World& world) {
    Mesh mesh({1, 1, 1}, world);
    Kernels kernels(std::make_unique<ReferenceBackend>(DType::kF32));
    std::vector<float> values;
    const StateTensor tensor = state_of(mesh, values);
    for (size_t i = 0; i < values.size(); ++i) values[i] = value_at(tensor.box, i);
    save_checkpoint(directory.path(), progress_of(1), std::vector{tensor}, {}, mesh, kernels);
  });
  run_ranks(2, [&](const World& world) {
    Mesh mesh({1, 1, 2}, world);
    Kernels kernels(std::make_unique<ReferenceBackend>(DType::kF32));
    std::vector<float> values;
    const StateTensor tensor = state_of(mesh, values);
    load_newest_checkpoint(directory.path(), std::vector{tensor}, mesh, kernels, ignore);
    int64_t differences = 0;
    for (size_t i = 0; i < values.size(); ++i) differences += values[i] != value_at(tensor.box, i);
    EXPECT_EQ(differences, 0);
  });
}

TEST(Checkpoint, NothingThereIsNoError) {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "empty");
  std::filesystem::create_directories(directory / "begun" / "step-00000001.tmp");
  std::filesystem::create_directories(directory / "foreign" / "step-1");
  for (const char* name : {"none", "empty", "begun", "foreign"}) {
    run_ranks(2, [&](const World& world) {
      Mesh mesh({2, 1, 1}, world);
      FarKernels kernels;
      ShardedState state(mesh, kernels, DType::kF32);
      EXPECT_FALSE(load_newest_checkpoint(directory / name, state.tensors(), mesh, kernels, ignore)) << name;
    });
  }
  EXPECT_TRUE(list_checkpoints(directory / "none").empty());
}

// ---- names in the directory

using Names = std::vector<std::string>;

TEST(Checkpoint, KeepsTheNewestByCount) {
  const TemporaryDirectory directory;
  for (const int64_t step : {1, 2, 3, 4}) save_on({2, 1, 1}, directory.path(), step, 3);
  EXPECT_EQ(list_directory(directory.path()), (Names{"step-00000002", "step-00000003", "step-00000004"}));
  save_on({2, 1, 1}, directory.path(), 5, 0);
  EXPECT_EQ(list_directory(directory.path()).size(), 4u);
  save_on({2, 1, 1}, directory.path(), 100000000, 1);  // nine digits sort after eight
  EXPECT_EQ(list_directory(directory.path()), (Names{"step-100000000"}));
  expect_loads({2, 1, 1}, directory.path(), 100000000);
}

TEST(Checkpoint, NewerOnesAreLetAloneAndNotCounted) {
  const TemporaryDirectory directory;
  for (const int64_t step : {10, 20, 30}) save_on({1, 1, 1}, directory.path(), step);
  save_on({1, 1, 1}, directory.path(), 21, 1);  // a run that went back to step 20
  EXPECT_EQ(list_directory(directory.path()), (Names{"step-00000021", "step-00000030"}));
}

TEST(Checkpoint, MakesItsDirectoryAndReplacesAStep) {
  const TemporaryDirectory directory;
  const std::filesystem::path nested = directory / "runs" / "first" / "";
  save_on({2, 1, 1}, nested, 7);
  run_ranks(1, [&](const World& world) {
    Mesh mesh({1, 1, 1}, world);
    FarKernels kernels;
    ShardedState state(mesh, kernels, DType::kF32);
    state.fill(70);
    save_checkpoint(nested, {7, 56, 28672}, state.tensors(), {"again", {}}, mesh, kernels);
    remove_old_checkpoints(nested, 7, 2, mesh);
    state.fill(0);
    const auto loaded = load_newest_checkpoint(nested, state.tensors(), mesh, kernels, ignore);
    ASSERT_TRUE(loaded);
    EXPECT_EQ(loaded->run.config_text, "again");
    EXPECT_EQ(state.differences(70), 0);
  });
  EXPECT_EQ(list_directory(nested), (Names{"step-00000007"}));
}

TEST(Checkpoint, LeftoversOfACrashAreRemoved) {
  const TemporaryDirectory directory;
  save_on({1, 1, 1}, directory.path(), 1);
  for (const char* name : {"step-00000001.tmp", "step-00000002.tmp", "step-00000009.tmp"}) {
    std::filesystem::create_directory(directory / name);
    write_file(directory / name / "rank-00000.safetensors", "half");
  }
  write_file(directory / "notes.txt", "mine");
  std::filesystem::create_directory(directory / "step-00000003.tmp.mine");
  save_on({1, 1, 1}, directory.path(), 2, 1);
  EXPECT_EQ(list_directory(directory.path()), (Names{"notes.txt", "step-00000002", "step-00000003.tmp.mine"}));
}

TEST(Checkpoint, AReplacedOneCountsUntilTheNewOneIsThere) {
  const TemporaryDirectory directory;
  save_on({1, 1, 1}, directory.path(), 1);
  save_on({1, 1, 1}, directory.path(), 2);
  // The state after a save of step 2 that ended between its two renames.
  std::filesystem::rename(directory / "step-00000002", directory / "step-00000002.old");
  expect_loads({2, 1, 1}, directory.path(), 2);
  save_on({1, 1, 1}, directory.path(), 3, 2);
  EXPECT_EQ(list_directory(directory.path()), (Names{"step-00000002.old", "step-00000003"}));
  save_on({1, 1, 1}, directory.path(), 2, 1);
  EXPECT_EQ(list_directory(directory.path()), (Names{"step-00000002", "step-00000003"}));
}

TEST(Checkpoint, ALinkToAnotherRunsCheckpointLoadsAndOnlyTheLinkIsRemoved) {
  const TemporaryDirectory directory, elsewhere;
  save_on({1, 1, 1}, elsewhere.path(), 1);
  const auto link = [&] {
    std::filesystem::create_directory_symlink(elsewhere / "step-00000001", directory / "step-00000001");
  };
  link();
  expect_loads({2, 1, 1}, directory.path(), 1);
  save_on({1, 1, 1}, directory.path(), 2, 1);
  EXPECT_EQ(list_directory(directory.path()), (Names{"step-00000002"}));
  link();
  save_on({1, 1, 1}, directory.path(), 1, 1);  // replaces the link, not what it leads to
  EXPECT_FALSE(std::filesystem::is_symlink(directory / "step-00000001"));
  EXPECT_EQ(list_directory(directory.path()), (Names{"step-00000001", "step-00000002"}));
  expect_loads({1, 1, 1}, elsewhere.path(), 1);
}

TEST(Checkpoint, LaterOnesAreSetAsideAndNoLongerCount) {
  const TemporaryDirectory directory;
  for (const int64_t step : {10, 20, 30}) save_on({2, 1, 1}, directory.path(), step);
  const auto set_aside_after = [&](int64_t step) {
    run_ranks(2, [&](const World& world) {
      Mesh mesh({2, 1, 1}, world);
      set_aside_later_checkpoints(directory.path(), step, mesh);
    });
  };
  set_aside_after(30);
  EXPECT_EQ(list_checkpoints(directory.path()).size(), 3u);
  set_aside_after(10);
  EXPECT_EQ(list_directory(directory.path()), (Names{"step-00000010", "step-00000020.aside", "step-00000030.aside"}));
  expect_loads({1, 1, 1}, directory.path(), 10);
  save_on({1, 1, 1}, directory.path(), 20, 1);
  set_aside_after(0);
  EXPECT_EQ(list_directory(directory.path()),
            (Names{"step-00000020.aside", "step-00000020.aside-2", "step-00000030.aside"}));
  set_aside_after(0);
  run_ranks(1, [&](const World& world) {  // not even the directory exists
    Mesh mesh({1, 1, 1}, world);
    set_aside_later_checkpoints(directory / "none", 0, mesh);
  });
}

// ---- other models

// The error of a load after `change` was made to the tensors to load; expects the same on both ranks.
std::string refusal_after(const std::filesystem::path& directory,
                          const std::function<void(std::vector<StateTensor>&, int rank)>& change) {
  std::vector<std::string> messages(2);
  run_ranks(2, [&](const World& world) {
    Mesh mesh({2, 1, 1}, world);
    FarKernels kernels;
    ShardedState state(mesh, kernels, DType::kF32);
    change(state.tensors(), world->rank());
    std::string& message = messages[static_cast<size_t>(world->rank())];
    try {
      load_newest_checkpoint(directory, state.tensors(), mesh, kernels, ignore);
    } catch (const Error& error) {
      message = error.what();
    }
  });
  EXPECT_EQ(messages[0], messages[1]);
  return messages[0];
}

TEST(Checkpoint, AnotherModelIsRefusedByName) {
  const TemporaryDirectory directory;
  save_on({1, 1, 1}, directory.path(), 1);
  save_on({1, 1, 1}, directory.path(), 2);
  EXPECT_EQ(refusal_after(directory.path(), [](auto&, int) {}), "");

  const std::string other_shape = refusal_after(directory.path(), [](std::vector<StateTensor>& tensors, int) {
    for (StateTensor& tensor : tensors) {
      if (tensor.name == "model.embed_tokens.weight") tensor.shape = {24, 10};
    }
  });
  EXPECT_NE(other_shape.find("step-00000002 is of another model: tensor \"model.embed_tokens.weight\" is [23, 10] "
                             "there and [24, 10] here"),
            std::string::npos)
      << other_shape;
  EXPECT_NE(other_shape.find("output.directory"), std::string::npos) << other_shape;

  // Only the last rank has this tensor.
  const std::string more = refusal_after(directory.path(), [](std::vector<StateTensor>& tensors, int rank) {
    if (rank == 0) return;
    tensors.push_back(tensors.back());
    tensors.back().name = "model.layers.1.q_proj.weight";
  });
  EXPECT_NE(more.find("rank 1"), std::string::npos) << more;
  EXPECT_NE(more.find("it has no tensor \"model.layers.1.q_proj.weight\""), std::string::npos) << more;

  const std::string fewer = refusal_after(directory.path(), [](std::vector<StateTensor>& tensors, int) {
    std::erase_if(tensors, [](const StateTensor& tensor) { return tensor.name == "model.norm.weight"; });
  });
  EXPECT_NE(fewer.find("this one has no tensor \"model.norm.weight\""), std::string::npos) << fewer;
}

TEST(Checkpoint, TheWeightsAloneCanBeLoaded) {
  const TemporaryDirectory directory;
  save_on({1, 2, 1}, directory.path(), 1);
  const auto weights_only = [](std::vector<StateTensor>& tensors, int) {
    std::erase_if(tensors, [](const StateTensor& tensor) { return tensor.name.starts_with("optimizer."); });
  };
  EXPECT_EQ(refusal_after(directory.path(), weights_only), "");
}

TEST(Checkpoint, AnotherFormatVersionIsRefusedAndNotSteppedOver) {
  const TemporaryDirectory directory;
  save_on({1, 1, 1}, directory.path(), 1);
  save_on({1, 1, 1}, directory.path(), 2);
  Manifest manifest = parse_manifest(read_file(directory / "step-00000002" / kManifestName));
  manifest.version = 2;
  write_file(directory / "step-00000002" / kManifestName, manifest_text(manifest));
  const std::string message = refusal_after(directory.path(), [](auto&, int) {});
  EXPECT_NE(message.find("step-00000002 has format version 2; this program reads version 1"), std::string::npos)
      << message;
}

// ---- one checkpoint, by its path

TEST(Checkpoint, IsLoadedByItsPath) {
  const TemporaryDirectory directory;
  save_on({2, 1, 2}, directory.path(), 1);
  save_on({2, 1, 2}, directory.path(), 2);
  run_ranks(1, [&](const World& world) {
    Mesh mesh({1, 1, 1}, world);
    FarKernels kernels;
    ShardedState state(mesh, kernels, DType::kF32);
    const LoadedCheckpoint loaded = load_checkpoint(directory / "step-00000001", state.tensors(), mesh, kernels);
    EXPECT_EQ(loaded.progress, progress_of(1));
    EXPECT_EQ(loaded.mesh, (MeshShape{2, 1, 2}));
    EXPECT_EQ(state.differences(1), 0);
    EXPECT_THROW(load_checkpoint(directory / "step-00000009", state.tensors(), mesh, kernels), CheckpointError);
  });
  const std::vector<CheckpointPath> listed = list_checkpoints(directory.path());
  ASSERT_EQ(listed.size(), 2u);
  EXPECT_EQ(listed[0].step, 2);
  EXPECT_EQ(listed[1].path, directory / "step-00000001");
}

}  // namespace
}  // namespace ropewalk
