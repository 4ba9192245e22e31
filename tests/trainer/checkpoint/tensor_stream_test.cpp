// Whole tensors of a checkpoint, however the mesh that wrote it cut them.
#include "trainer/checkpoint/tensor_stream.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "tests/support/expect_error.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/checkpoint/far_backend.h"
#include "tests/trainer/checkpoint/sharded_state.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/files/crc32c.h"
#include "trainer/formats/safetensors.h"

namespace ropewalk {
namespace {

using World = std::shared_ptr<Communicator>;

// The bytes of a whole tensor of ShardedState.
template <typename Scalar>
std::string bytes_of(const ManifestTensor& tensor) {
  const bool is_matrix = tensor.shape.rank() == 2;
  std::string bytes;
  for (int64_t row = 0; row < (is_matrix ? tensor.shape[0] : 1); ++row)
    for (int64_t column = 0; column < tensor.shape[is_matrix]; ++column) {
      const auto value = static_cast<Scalar>(state_value(7, tensor.name, row, column, Rounding::kNone));
      bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
  return bytes;
}

std::string text_of(std::span<const uint8_t> part) { return {part.begin(), part.end()}; }

template <typename Scalar>
void expect_streamed(const MeshShape& shape, Sharding sharding) {
  const TemporaryDirectory directory;
  run_ranks(shape.size(), [&](const World& world) {
    Mesh mesh(shape, world);
    FarKernels kernels;
    ShardedState state(mesh, kernels, dtype_of<Scalar>, sharding);
    state.fill(7, Rounding::kNone);
    save_checkpoint(directory.path(), {1, 1, 1}, state.tensors(), {}, mesh, kernels);
  });
  const auto path = directory / "step-00000001";
  const Manifest manifest = read_manifest(real_file_system(), path);
  TensorStream stream(real_file_system(), path, manifest);
  std::set<size_t> counts;
  for (int time = 0; time < 2; ++time)  // a tensor may be read again, and in any order
    for (const ManifestTensor& tensor : manifest.tensors) {
      counts.insert(tensor.pieces.size());
      std::string bytes;
      stream.read(tensor, [&](std::span<const uint8_t> part) { bytes += text_of(part); });
      EXPECT_EQ(bytes, bytes_of<Scalar>(tensor)) << tensor.name;
    }
  if (shape.size() > 1 && sharding == Sharding::kOverGradientGroup) {
    EXPECT_GT(*counts.rbegin(), 1u) << "no tensor was cut";
  }
}

// The tensor group cuts by rows and by columns, the gradient group both, and vectors.
TEST(TensorStream, PutsPiecesOfEveryMeshTogether) {
  for (const MeshShape& shape : {MeshShape{1, 1, 1}, {4, 1, 1}, {1, 1, 3}, {2, 2, 2}, {1, 3, 2}})
    for (const Sharding sharding : {Sharding::kOverGradientGroup, Sharding::kReplicated}) {
      SCOPED_TRACE(fmt::format("{}x{}x{}", shape.data_parallel, shape.context_parallel, shape.tensor_parallel));
      expect_streamed<float>(shape, sharding);
      expect_streamed<double>(shape, sharding);
    }
}

// One matrix of a checkpoint without ranks. pieces: boxes, each in the one file.
class MatrixOnDisk {
 public:
  MatrixOnDisk(Shape shape, const std::vector<Box>& boxes) {
    std::vector<SafetensorsTensor> layout;
    std::string data;
    for (size_t i = 0; i < boxes.size(); ++i) {
      layout.push_back({std::to_string(i), DType::kF32, {boxes[i].rows(), boxes[i].columns()}});
      std::string bytes;
      for (int64_t row = boxes[i].row_begin; row < boxes[i].row_end; ++row)
        for (int64_t column = boxes[i].column_begin; column < boxes[i].column_end; ++column) {
          const auto value = static_cast<float>(row * shape[1] + column);
          bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
        }
      tensor_.pieces.push_back({0, std::to_string(i), boxes[i], crc32c(bytes)});
      data += bytes;
    }
    const std::string header = safetensors_header(layout, {});
    write_file(directory_ / "file.safetensors", header + data);
    tensor_.shape = shape;
    manifest_.files.push_back({"file.safetensors", static_cast<int64_t>((header + data).size()), crc32c(header)});
    manifest_.tensors.push_back(tensor_);
  }

  // The sizes of the parts in which it is read. Expects element i to be i.
  std::vector<size_t> read(FileSystem& files = real_file_system()) {
    TensorStream stream(files, directory_.path(), manifest_);
    std::vector<size_t> sizes;
    int64_t next = 0, differences = 0;
    stream.read(manifest_.tensors[0], [&](std::span<const uint8_t> part) {
      sizes.push_back(part.size());
      for (size_t at = 0; at < part.size(); at += sizeof(float)) {
        float value;
        std::memcpy(&value, &part[at], sizeof value);
        differences += value != static_cast<float>(next++);
      }
    });
    EXPECT_EQ(differences, 0);
    return sizes;
  }
  ManifestTensor& tensor() { return manifest_.tensors[0]; }
  std::filesystem::path file() const { return directory_ / "file.safetensors"; }

 private:
  TemporaryDirectory directory_;
  ManifestTensor tensor_{"model.w", DType::kF32, {1}, {}};
  Manifest manifest_;
};

// Parts are bounded, also where pieces end within them.
TEST(TensorStream, ReadsLargeTensorsInParts) {
  constexpr int64_t kColumns = 1000, kPerPart = TensorStream::kPartBytes / (4 * kColumns), kRows = 2 * kPerPart + 3;
  MatrixOnDisk matrix(
      {kRows, kColumns},
      {{kRows - 9, kRows, 0, kColumns}, {0, 1, 0, kColumns}, {1, kRows - 9, 400, kColumns}, {1, kRows - 9, 0, 400}});
  constexpr size_t kPart = kPerPart * kColumns * 4;
  EXPECT_LE(kPart, static_cast<size_t>(TensorStream::kPartBytes));
  EXPECT_EQ(matrix.read(), (std::vector<size_t>{kPart, kPart, 3 * kColumns * 4}));
}

TEST(TensorStream, ReadsARowThatIsLargerThanAPart) {
  constexpr int64_t kColumns = TensorStream::kPartBytes / 4 + 5;
  MatrixOnDisk matrix({2, kColumns}, {{0, 2, 0, 7}, {0, 2, 7, kColumns}});
  EXPECT_EQ(matrix.read(), (std::vector<size_t>(2, kColumns * 4)));
}

TEST(TensorStream, NamesADamagedPiece) {
  MatrixOnDisk matrix({4, 6}, {{0, 2, 0, 6}, {2, 4, 0, 6}});
  std::string bytes = read_file(matrix.file());
  bytes.back() ^= 1;
  write_file(matrix.file(), bytes);
  expect_error<CheckpointError>([&] { matrix.read(); },
                                {"file.safetensors: tensor \"model.w\", rows 2..4", "the data have checksum"});
}

TEST(TensorStream, RefusesPiecesThatDoNotCoverTheTensor) {
  MatrixOnDisk matrix({4, 6}, {{0, 2, 0, 6}, {2, 4, 0, 6}});
  ManifestPiece& second = matrix.tensor().pieces[1];
  second.box = {1, 3, 0, 6};
  expect_error<CheckpointError>([&] { matrix.read(); }, {"tensor \"model.w\"", "more than once"});
  matrix.tensor().pieces.pop_back();
  expect_error<CheckpointError>([&] { matrix.read(); }, {"rows 2..4", "are in no file"});
}

// A row of 2^50 bytes would not fit in memory: the file's header is asked first.
TEST(TensorStream, RefusesAHugeRowThatTheFileDoesNotHold) {
  MatrixOnDisk matrix({4, 6}, {{0, 4, 0, 6}});
  const int64_t huge = int64_t{1} << 48;
  matrix.tensor().shape = {1, huge};
  matrix.tensor().pieces[0].box = {0, 1, 0, huge};
  expect_error<CheckpointError>([&] { matrix.read(); }, {"does not hold", "as the manifest says"});
}

}  // namespace
}  // namespace ropewalk
