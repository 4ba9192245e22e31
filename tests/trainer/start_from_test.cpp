// Weights that are loaded into a Trainer, as by training.start_from: from checkpoints of every type, saved on one mesh
// and loaded on another, with moments of 0.
#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "tests/support/expect_error.h"
#include "tests/support/models.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/training.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/formats/elements.h"

namespace ropewalk {
namespace {

using World = std::shared_ptr<Communicator>;

Config config_on(const MeshShape& mesh) {
  return test_config(small_model({sliding_rope(3), with_qk_norm(full_nope())}), mesh, 16, 2);
}

std::vector<double> values_of(const StateTensor& tensor, Kernels& kernels) {
  std::vector<double> out(static_cast<size_t>(tensor.data.elements()));
  kernels.download(tensor.data, out.data());
  return out;
}

// The initial weights, converted to a type of files; with a NaN in the first element of the tensor `broken`.
void save_as(DType type, const MeshShape& shape, const std::filesystem::path& directory,
             const std::string& broken = "") {
  const Config config = config_on(shape);
  run_ranks(shape.size(), [&](const World& world) {
    RankOnThread here(config, world);
    Trainer trainer(config, here.rank());
    trainer.initialize();
    std::vector<StateTensor> weights = trainer.master_weights();
    std::vector<std::vector<uint8_t>> bytes;
    for (StateTensor& tensor : weights) {
      std::vector<double> values = values_of(tensor, here.kernels());
      if (tensor.name == broken && tensor.box.row_begin == 0 && tensor.box.column_begin == 0 && !values.empty())
        values[0] = std::numeric_limits<double>::quiet_NaN();
      bytes.emplace_back(values.size() * static_cast<size_t>(size_of(type)));
      convert_elements(reinterpret_cast<const uint8_t*>(values.data()), DType::kF64, bytes.back().data(), type,
                       static_cast<int64_t>(values.size()));
      tensor.data = Tensor(bytes.back().data(), type, Device{}, tensor.data.shape());
    }
    save_checkpoint(directory, {.step = 4}, weights, {"", {}}, here.mesh(), here.kernels());
  });
}

// Name and box of each tensor -> the values that it must have: the initial weights, rounded to `type`.
std::map<std::string, std::vector<double>> expected_on(Trainer& trainer, RankOnThread& here, DType type) {
  trainer.initialize();
  std::map<std::string, std::vector<double>> out;
  for (const StateTensor& tensor : trainer.master_weights()) {
    std::vector<double> values = values_of(tensor, here.kernels());
    std::vector<uint8_t> narrow(values.size() * static_cast<size_t>(size_of(type)));
    auto* const wide = reinterpret_cast<uint8_t*>(values.data());
    const auto count = static_cast<int64_t>(values.size());
    convert_elements(wide, DType::kF64, narrow.data(), type, count);
    convert_elements(narrow.data(), type, wide, DType::kF64, count);
    out[fmt::format("{} {}:{}", tensor.name, tensor.box.row_begin, tensor.box.column_begin)] = values;
  }
  return out;
}

void load_weights(Trainer& trainer, RankOnThread& here, const std::filesystem::path& directory) {
  load_checkpoint(checkpoint_path(directory, 4), trainer.master_weights(), here.mesh(), here.kernels());
  trainer.weights_loaded("base");
}

TEST(StartFrom, EveryTypeAndMeshGivesTheWeightsAndFreshMoments) {
  for (const DType type : {DType::kF32, DType::kF64, DType::kBF16, DType::kF16})
    for (const MeshShape& saver : {MeshShape{1, 1, 1}, MeshShape{1, 2, 2}}) {
      const TemporaryDirectory directory;
      save_as(type, saver, directory.path());
      for (const MeshShape& loader : {MeshShape{1, 1, 1}, MeshShape{2, 1, 1}, MeshShape{1, 2, 1}, MeshShape{1, 1, 4}}) {
        const Config config = config_on(loader);
        run_ranks(loader.size(), [&](const World& world) {
          RankOnThread here(config, world);
          Trainer trainer(config, here.rank());
          const auto expected = expected_on(trainer, here, type);
          for (const StateTensor& tensor : trainer.state()) here.kernels().fill(tensor.data, 9);
          load_weights(trainer, here, directory.path());
          for (const StateTensor& tensor : trainer.state()) {
            const bool moment = tensor.name.starts_with("optimizer.");
            const auto key = fmt::format("{} {}:{}", tensor.name, tensor.box.row_begin, tensor.box.column_begin);
            const std::vector<double> values = values_of(tensor, here.kernels());
            EXPECT_EQ(values, moment ? std::vector<double>(values.size()) : expected.at(key)) << key;
          }
        });
      }
    }
}

TEST(StartFrom, AWeightThatIsNotFiniteIsNamedOnAllRanks) {
  const std::string name = "model.layers.1.mlp.down_proj.weight";
  const TemporaryDirectory directory;
  save_as(DType::kBF16, {1, 1, 1}, directory.path(), name);
  const Config config = config_on({1, 1, 2});
  run_ranks(2, [&](const World& world) {
    RankOnThread here(config, world);
    Trainer trainer(config, here.rank());
    expect_error<NumericalError>([&] { load_weights(trainer, here, directory.path()); },
                                 {"a weight in base is not finite: rank 0: the weight " + name + ", element 0"});
  });
}

}  // namespace
}  // namespace ropewalk
