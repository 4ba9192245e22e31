// The files of a Hugging Face model in a checkpoint: written, read, and removed with it.
#include "trainer/checkpoint/source_files.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/checkpoint/far_backend.h"
#include "tests/trainer/checkpoint/sharded_state.h"
#include "trainer/checkpoint/checkpoint.h"

namespace ropewalk {
namespace {

namespace fs = std::filesystem;

TEST(SourceFiles, AreReadAsTheyWereWritten) {
  const TemporaryDirectory directory;
  const std::vector<SourceFile> files = some_source_files();
  const auto entries = write_source_files(real_file_system(), directory.path(), files);
  EXPECT_EQ(read_source_files(real_file_system(), directory.path(), entries), files);
  for (const SourceFile& file : files) EXPECT_EQ(read_file(directory / kSourceFolder / file.name), file.bytes);
  EXPECT_TRUE(write_source_files(real_file_system(), directory / "nowhere", {}).empty());
}

TEST(SourceFiles, ThatAreMissingOrChangedAreRefused) {
  const TemporaryDirectory directory;
  const auto entries = write_source_files(real_file_system(), directory.path(), some_source_files());
  for (const ManifestSourceFile& entry : entries) {
    const fs::path path = directory / kSourceFolder / entry.name;
    const std::string whole = read_file(path);
    const auto read = [&] { read_source_files(real_file_system(), directory.path(), entries); };
    std::string changed = whole;
    changed[0] ^= 1;
    write_file(path, changed);
    expect_error<CheckpointError>(read, {path.string() + " is not the file that the manifest describes"});
    write_file(path, whole.substr(1));
    expect_error<CheckpointError>(read, {path.string() + " is not the file that the manifest describes"});
    write_file(path, whole + "x");
    expect_error<FileError>(read, {path.string() + " has ", " bytes; at most "});
    fs::remove(path);
    expect_error<FileError>(read, {path.string() + ": No such file"});
    fs::create_symlink("/dev/null", path);
    expect_error<FileError>(read, {path.string()});
    fs::remove(path);
    write_file(path, whole);
    EXPECT_NO_THROW(read());
  }
}

TEST(SourceFiles, AreRemovedWithTheirFolders) {
  const TemporaryDirectory directory;
  write_source_files(real_file_system(), directory.path(), some_source_files());
  write_file(directory / "weights", "stay");
  remove_source_files(real_file_system(), directory.path());
  EXPECT_EQ(directory.names(), std::vector<std::string>{"weights"});
  remove_source_files(real_file_system(), directory.path());  // there are none any more
  // A link is not followed.
  fs::create_directory(directory / "mine");
  write_file(directory / "mine" / "file", "kept");
  fs::create_directory_symlink("mine", directory / kSourceFolder);
  remove_source_files(real_file_system(), directory.path());
  EXPECT_EQ(read_file(directory / "mine" / "file"), "kept");
}

class SourceFilesOfCheckpoints : public testing::Test {
 protected:
  void save(int64_t step, const std::vector<SourceFile>& files) {
    run_ranks(2, [&](const std::shared_ptr<Communicator>& world) {
      Mesh mesh({2, 1, 1}, world);
      FarKernels kernels;
      ShardedState state(mesh, kernels, DType::kF32);
      state.fill(1);
      save_checkpoint(directory_.path(), {step, 1, 1}, state.tensors(), {"", {}, files}, mesh, kernels);
    });
  }
  std::vector<SourceFile> files_of(const std::string& name) {
    const Manifest manifest = read_manifest(real_file_system(), directory_ / name);
    return read_source_files(real_file_system(), directory_ / name, manifest.source_files);
  }

  TemporaryDirectory directory_;
};

// Each save removes what an interrupted one has left, and the checkpoint that it replaces.
TEST_F(SourceFilesOfCheckpoints, GoWithReplacedCheckpointsAndLeftovers) {
  const std::vector<SourceFile> other = {{"tokenizer.json", "another"}};
  save(1, some_source_files());
  fs::copy(directory_ / "step-00000001", directory_ / "step-00000001.old", fs::copy_options::recursive);
  fs::copy(directory_ / "step-00000001", directory_ / "step-00000007.tmp", fs::copy_options::recursive);
  save(1, other);
  EXPECT_EQ(directory_.names(), (std::vector<std::string>{"step-00000001", "step-00000001.old"}));
  EXPECT_EQ(files_of("step-00000001"), other);
  EXPECT_EQ(files_of("step-00000001.old"), some_source_files());
  remove_old_checkpoints(real_file_system(), directory_.path(), 1, 1);
  EXPECT_EQ(directory_.names(), std::vector<std::string>{"step-00000001"});
  save(2, some_source_files());
  remove_old_checkpoints(real_file_system(), directory_.path(), 2, 1);
  EXPECT_EQ(directory_.names(), std::vector<std::string>{"step-00000002"});
}

TEST_F(SourceFilesOfCheckpoints, StayInACheckpointThatIsSetAside) {
  save(1, some_source_files());
  save(2, some_source_files());
  set_aside_later_checkpoints(real_file_system(), directory_.path(), 1);
  EXPECT_EQ(directory_.names(), (std::vector<std::string>{"step-00000001", "step-00000002.aside"}));
  EXPECT_EQ(files_of("step-00000002.aside"), some_source_files());
}

}  // namespace
}  // namespace ropewalk
