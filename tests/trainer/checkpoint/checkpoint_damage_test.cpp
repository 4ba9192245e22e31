// Every flipped bit, lost byte and exchanged file is noticed: the checkpoint is refused with its name, and the older
// one is used.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <set>

#include "kernels/reference_backend.h"
#include "parallel/communicator/thread_communicator.h"
#include "tests/support/flipped_bits.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/checkpoint/far_backend.h"
#include "tests/trainer/checkpoint/sharded_state.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/manifest.h"

namespace ropewalk {
namespace {

using World = std::shared_ptr<Communicator>;
namespace fs = std::filesystem;

constexpr MeshShape kMesh{2, 1, 2};

// Four ranks save checkpoints of steps 1 and 2; one rank reads everything.
class CheckpointDamage : public testing::Test {
 protected:
  CheckpointDamage()
      : world_(1, std::chrono::seconds(60)),
        mesh_({1, 1, 1}, world_.communicator(0)),
        state_(mesh_, kernels_, DType::kF32) {
    save(1);
    save(2);
  }

  void save(int64_t step) {
    run_ranks(kMesh.size(), [&](const World& world) {
      Mesh mesh(kMesh, world);
      FarKernels kernels;
      ShardedState state(mesh, kernels, DType::kF32);
      state.fill(static_cast<uint64_t>(step));
      save_checkpoint(directory_.path(), {step, step, step}, state.tensors(), {"", {}, some_source_files()}, mesh,
                      kernels);
    });
  }

  fs::path newest(const std::string& name) const { return directory_ / "step-00000002" / name; }
  fs::path older(const std::string& name) const { return directory_ / "step-00000001" / name; }

  // The message with which the newest checkpoint is refused; empty if it is not refused.
  std::string refusal() {
    try {
      load_checkpoint(directory_ / "step-00000002", state_.tensors(), mesh_, kernels_);
      return "";
    } catch (const CheckpointError& error) {
      return error.what();
    }
  }

  // Expects on all ranks of a mesh that the newest checkpoint is refused with a message that contains all of `because`,
  // and that the older one is used.
  void expect_older_used(const std::vector<std::string>& because, MeshShape shape = {1, 1, 1}) {
    run_ranks(shape.size(), [&](const World& world) {
      Mesh mesh(shape, world);
      FarKernels kernels;
      ShardedState state(mesh, kernels, DType::kF32);
      std::vector<std::string> warnings;
      const auto loaded = load_newest_checkpoint(directory_.path(), state.tensors(), mesh, kernels,
                                                 [&](const std::string& line) { warnings.push_back(line); });
      ASSERT_TRUE(loaded);
      EXPECT_EQ(loaded->progress.step, 1);
      EXPECT_EQ(state.differences(1), 0);
      ASSERT_EQ(warnings.size(), 2u);
      EXPECT_NE(warnings[0].find("step-00000002 is refused: "), std::string::npos) << warnings[0];
      for (const std::string& part : because)
        EXPECT_NE(warnings[0].find(part), std::string::npos) << warnings[0] << "\nlacks " << part;
      EXPECT_EQ(warnings[1], "using the older checkpoint " + (directory_ / "step-00000001").string());
    });
  }

  TemporaryDirectory directory_;
  ThreadWorld world_;
  Mesh mesh_;
  FarKernels kernels_;
  ShardedState state_;
};

TEST_F(CheckpointDamage, AFlippedBitIsNoticedWhereverItIs) {
  EXPECT_GT(flip_bits(directory_ / "step-00000002", 101, [&] { return refusal(); }), 150);
}

// One matrix of integers, split by rows over two ranks.
void save_matrix(const fs::path& directory, int64_t step, const std::vector<float>& values) {
  run_ranks(2, [&](const World& world) {
    Mesh mesh({2, 1, 1}, world);
    Kernels kernels(std::make_unique<ReferenceBackend>(DType::kF32));
    std::vector<float> mine(values.begin() + world->rank() * 8, values.begin() + world->rank() * 8 + 8);
    const Box box{world->rank() * 2, world->rank() * 2 + 2, 0, 4};
    const StateTensor tensor{"model.w", {4, 4}, box, Tensor(mine.data(), DType::kF32, Device{}, {2, 4}), true};
    save_checkpoint(directory, {step, 0, 0}, std::vector{tensor}, {}, mesh, kernels);
  });
}

std::string refusal_of_matrix(const fs::path& checkpoint, Mesh& mesh, int64_t rows = 4) {
  Kernels kernels(std::make_unique<ReferenceBackend>(DType::kF32));
  std::vector<float> values(16);
  const int64_t columns = 16 / rows;
  const StateTensor tensor{"model.w",
                           {rows, columns},
                           {0, rows, 0, columns},
                           Tensor(values.data(), DType::kF32, Device{}, {rows, columns}),
                           false};
  try {
    load_checkpoint(checkpoint, std::vector{tensor}, mesh, kernels);
    return "";
  } catch (const CheckpointError& error) {
    return error.what();
  }
}

TEST_F(CheckpointDamage, AFlippedBitInEveryByteOfASmallCheckpointIsNoticed) {
  save_matrix(directory_ / "small", 1, std::vector<float>(16, 3.0f));
  const fs::path checkpoint = directory_ / "small" / "step-00000001";
  EXPECT_GT(flip_bits(checkpoint, 1, [&] { return refusal_of_matrix(checkpoint, mesh_); }), 1000);
}

TEST_F(CheckpointDamage, AFileThatIsShorterOrLongerIsNoticed) {
  for (const fs::path& file : files_of(directory_ / "step-00000002")) {
    const std::string whole = read_file(file);
    for (size_t bytes = 0; bytes < whole.size(); bytes += bytes < 9 || bytes + 9 > whole.size() ? 1 : 211) {
      write_file(file, whole.substr(0, bytes));
      ASSERT_NE(refusal(), "") << bytes << " bytes of " << file;
    }
    write_file(file, whole + std::string(1, '\0'));
    ASSERT_NE(refusal(), "") << file;
    write_file(file, whole);
  }
  EXPECT_EQ(refusal(), "");
}

TEST_F(CheckpointDamage, TheDamagedTensorIsNamedAndTheOlderOneUsed) {
  const std::string name = "rank-00002.safetensors";
  std::string bytes = read_file(newest(name));
  bytes[bytes.size() - 1] ^= 1;
  write_file(newest(name), bytes);
  expect_older_used({newest(name).string(), "tensor \"optimizer.v.model.", "rows ", "the manifest says"});
  for (const MeshShape& shape : {MeshShape{2, 1, 1}, MeshShape{1, 1, 3}, MeshShape{2, 1, 2}})
    expect_older_used({name}, shape);
}

TEST_F(CheckpointDamage, ADamagedHeaderOrManifestIsNamed) {
  const std::string header = read_file(newest("rank-00001.safetensors"));
  std::string damaged = header;
  damaged[damaged.find("\"step\":\"2\"") + 8] = '3';
  write_file(newest("rank-00001.safetensors"), damaged);
  expect_older_used({"rank-00001.safetensors: the header has checksum"});
  write_file(newest("rank-00001.safetensors"), header);

  write_file(newest(kManifestName), read_file(newest(kManifestName)) + "\n");
  expect_older_used({"the manifest is not valid", "checksum"}, kMesh);
}

TEST_F(CheckpointDamage, AMissingFileIsNamed) {
  fs::remove(newest("rank-00003.safetensors"));
  expect_older_used({"rank-00003.safetensors: No such file"}, kMesh);
  fs::remove(newest(kManifestName));
  expect_older_used({"manifest.textproto: No such file"}, kMesh);
}

// A file from which no rank reads must exist, too.
TEST_F(CheckpointDamage, AMissingFileThatNobodyReadsIsNoticed) {
  std::erase_if(state_.tensors(), [](const StateTensor& tensor) { return !tensor.name.starts_with("model.embed"); });
  Manifest manifest = parse_manifest(read_file(newest(kManifestName)));
  for (ManifestTensor& tensor : manifest.tensors) {
    if (!tensor.name.starts_with("model.embed")) tensor.name = "other." + tensor.name;
  }
  write_file(newest(kManifestName), manifest_text(manifest));
  EXPECT_EQ(refusal(), "");
  std::set<int> read;
  for (const ManifestTensor& tensor : manifest.tensors) {
    for (const ManifestPiece& piece : tensor.pieces) {
      if (tensor.name.starts_with("model.")) read.insert(piece.file);
    }
  }
  for (int file = 0; file < kMesh.size(); ++file) {
    if (read.contains(file)) continue;
    fs::remove(newest(manifest.files[static_cast<size_t>(file)].name));
    EXPECT_NE(refusal().find("No such file"), std::string::npos);
    return;
  }
  FAIL() << "every file holds a part of the embedding";
}

TEST_F(CheckpointDamage, ExchangedFilesAreNoticed) {
  const auto exchange = [](const fs::path& a, const fs::path& b) {
    fs::rename(a, a.string() + "x");
    fs::rename(b, a);
    fs::rename(a.string() + "x", b);
  };
  exchange(newest("rank-00000.safetensors"), newest("rank-00001.safetensors"));
  EXPECT_NE(refusal(), "");
  exchange(newest("rank-00000.safetensors"), newest("rank-00001.safetensors"));
  EXPECT_EQ(refusal(), "");
  for (const char* name : {"rank-00000.safetensors", "rank-00003.safetensors", kManifestName}) {
    exchange(newest(name), older(name));
    EXPECT_NE(refusal(), "") << name;
    exchange(newest(name), older(name));
  }
  fs::copy_file(newest("rank-00002.safetensors"), newest("rank-00003.safetensors"),
                fs::copy_options::overwrite_existing);
  EXPECT_NE(refusal(), "");
}

TEST_F(CheckpointDamage, ExchangedFilesOfEqualValuesAreNoticed) {
  for (const int64_t step : {3, 4}) save_matrix(directory_ / "small", step, std::vector<float>(16, 0.0f));
  const fs::path checkpoint = directory_ / "small" / "step-00000004";
  EXPECT_EQ(refusal_of_matrix(checkpoint, mesh_), "");
  fs::copy_file(directory_ / "small" / "step-00000003" / "rank-00001.safetensors",
                checkpoint / "rank-00001.safetensors", fs::copy_options::overwrite_existing);
  EXPECT_NE(refusal_of_matrix(checkpoint, mesh_), "");
}

TEST_F(CheckpointDamage, ADirectoryUnderAnotherStepsNameIsRefused) {
  fs::rename(directory_ / "step-00000002", directory_ / "step-00000005");
  run_ranks(2, [&](const World& world) {
    Mesh mesh({2, 1, 1}, world);
    FarKernels kernels;
    ShardedState state(mesh, kernels, DType::kF32);
    std::string warnings;
    const auto loaded = load_newest_checkpoint(directory_.path(), state.tensors(), mesh, kernels,
                                               [&](const std::string& line) { warnings += line; });
    ASSERT_TRUE(loaded);
    EXPECT_EQ(loaded->progress.step, 1);
    EXPECT_NE(warnings.find("step-00000005 is refused: "), std::string::npos) << warnings;
    EXPECT_NE(warnings.find("its manifest is of step 2"), std::string::npos) << warnings;
  });
}

TEST_F(CheckpointDamage, WithoutAWholeOneThereIsAnError) {
  write_file(newest(kManifestName), "");
  write_file(older(kManifestName), "");
  run_ranks(2, [&](const World& world) {
    Mesh mesh({2, 1, 1}, world);
    FarKernels kernels;
    ShardedState state(mesh, kernels, DType::kF32);
    int warnings = 0;
    try {
      load_newest_checkpoint(directory_.path(), state.tensors(), mesh, kernels,
                             [&](const std::string&) { ++warnings; });
      ADD_FAILURE() << "loaded";
    } catch (const CheckpointError& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find("none of the 2 checkpoints"), std::string::npos) << message;
      EXPECT_NE(message.find("step-00000002, is refused"), std::string::npos) << message;
      EXPECT_NE(message.find("output.directory"), std::string::npos) << message;
    }
    EXPECT_EQ(warnings, 2);
  });
}

// ---- hostile directories, whose manifest has the right checksum

TEST_F(CheckpointDamage, WhatIsNoRegularFileIsNotOpened) {
  const fs::path file = newest("rank-00001.safetensors");
  const fs::path real = directory_ / "real";
  fs::rename(file, real);
  fs::create_symlink(real, file);
  EXPECT_NE(refusal().find(file.string()), std::string::npos);
  fs::remove(file);
  ASSERT_EQ(mkfifo(file.c_str(), 0600), 0);
  EXPECT_NE(refusal().find("no regular file"), std::string::npos);  // the load does not wait for a writer to the pipe
  fs::remove(file);
  fs::create_directory(file);
  EXPECT_NE(refusal().find("no regular file"), std::string::npos);
  fs::remove(file);
  fs::rename(real, file);
  EXPECT_EQ(refusal(), "");

  fs::rename(newest(kManifestName), real);
  fs::create_symlink(real, newest(kManifestName));
  EXPECT_NE(refusal(), "");
}

TEST_F(CheckpointDamage, AManifestThatLiesAboutItsFilesIsRefused) {
  const std::string whole = read_file(newest(kManifestName));
  const auto after = [&](const std::function<void(Manifest&)>& change) {
    Manifest manifest = parse_manifest(whole);
    change(manifest);
    write_file(newest(kManifestName), manifest_text(manifest));
    return refusal();
  };
  EXPECT_EQ(after([](Manifest&) {}), "");
  EXPECT_NE(after([](Manifest& m) {
              m.files[0].name = "../step-00000001/rank-00000.safetensors";
            }).find("no plain file name"),
            std::string::npos);
  EXPECT_NE(after([](Manifest& m) { m.files[0].bytes += 1; }).find("the manifest says"), std::string::npos);
  EXPECT_NE(after([](Manifest& m) { m.files[0].header_crc32c ^= 1; }).find("the header has checksum"),
            std::string::npos);
  EXPECT_NE(after([](Manifest& m) { m.tensors[0].pieces[0].crc32c ^= 1; }).find("the data have checksum"),
            std::string::npos);
  EXPECT_NE(after([](Manifest& m) { m.tensors[0].pieces[0].name += "x"; }).find("as the manifest says"),
            std::string::npos);
  EXPECT_NE(after([](Manifest& m) { m.tensors[0].pieces[0].file ^= 1; }).find("as the manifest says"),
            std::string::npos);
  EXPECT_NE(after([](Manifest& m) { m.tensors[0].dtype = DType::kF64; }).find("as the manifest says"),
            std::string::npos);
  EXPECT_NE(after([](Manifest& m) { m.tensors[0].pieces[0].box.row_end -= 1; }).find("are in no file"),
            std::string::npos);
  EXPECT_NE(after([](Manifest& m) { m.tensors[0].pieces.push_back(m.tensors[0].pieces[0]); }).find("more than once"),
            std::string::npos);
  EXPECT_NE(after([](Manifest& m) { m.tensors[0].pieces.clear(); }).find("are in no file"), std::string::npos);
  EXPECT_EQ(after([](Manifest&) {}), "");
}

// The manifest gives another shape for the same bytes and checksums.
TEST_F(CheckpointDamage, AManifestThatReshapesATensorIsRefused) {
  save_matrix(directory_ / "small", 1, std::vector<float>(16, 3.0f));
  const fs::path checkpoint = directory_ / "small" / "step-00000001";
  EXPECT_EQ(refusal_of_matrix(checkpoint, mesh_), "");
  Manifest manifest = parse_manifest(read_file(checkpoint / kManifestName));
  manifest.tensors[0].shape = {2, 8};
  manifest.tensors[0].pieces[0].box = {0, 1, 0, 8};
  manifest.tensors[0].pieces[1].box = {1, 2, 0, 8};
  write_file(checkpoint / kManifestName, manifest_text(manifest));
  EXPECT_NE(refusal_of_matrix(checkpoint, mesh_, 2).find("as the manifest says"), std::string::npos);
}

}  // namespace
}  // namespace ropewalk
