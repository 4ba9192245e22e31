// Every mesh of up to eight ranks against one rank, and one rank against the naive model: the loss and every gradient
// tensor.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/equivalence/cases.h"
#include "tests/equivalence/compare_steps.h"
#include "tests/support/forwarding_backend.h"
#include "tests/support/models.h"

namespace ropewalk {
namespace {

void expect_same(const LossAndGradients& actual, double loss, const NaiveWeights& gradients,
                 const std::string& against) {
  EXPECT_NEAR(actual.loss, loss, kTolerance * loss) << against;
  const Difference worst = difference(actual.gradients, gradients);
  EXPECT_LE(worst.relative, kTolerance) << against << ": " << worst.where;
}

// The gradients with which those of a mesh are compared. Computed once for all meshes with the same number of data
// ranks and the same heads, because these have the same model and samples (cases.h).
struct SerialGradients {
  NaiveResult naive;
  LossAndGradients one;
};

class GradientsOnEveryMesh : public testing::TestWithParam<MeshAndCase> {
 protected:
  const SerialGradients& serial(const Case& c, const NaiveWeights& weights) {
    const auto [entry, is_new] = known_.try_emplace(
        {c.name, c.config.training.stages[0].batch, c.config.model.query_heads, c.config.model.key_heads});
    if (is_new)
      entry->second = {naive_gradients(c.config.model, weights, c.samples),
                       gradients_on_mesh(on_one_rank(c.config), weights, c.samples)};
    return entry->second;
  }

 private:
  static inline std::map<std::tuple<std::string, int64_t, int64_t, int64_t>, SerialGradients> known_;
};

TEST_P(GradientsOnEveryMesh, GivesTheGradientsOfOneRankAndOfTheNaiveModel) {
  const auto& [mesh, name] = GetParam();
  const Case c = make_case(name, mesh);
  const NaiveWeights weights = random_weights(c.config.model, 11);
  const auto& [naive, one] = serial(c, weights);
  expect_same(one, naive.loss, naive.gradients, "one rank against the naive model");
  if (mesh.size() == 1) return;
  const LossAndGradients many = gradients_on_mesh(c.config, weights, c.samples);
  expect_same(many, one.loss, one.gradients, "the mesh against one rank");
  expect_same(many, naive.loss, naive.gradients, "the mesh against the naive model");
}

INSTANTIATE_TEST_SUITE_P(UpToEightRanks, GradientsOnEveryMesh,
                         testing::Combine(testing::ValuesIn(meshes_up_to(8)), testing::ValuesIn(case_names())),
                         name_of_mesh_and_case);

// A step's samples in micro-batches of one, two and all give the same sums, on meshes with and without data ranks.
TEST(GradientAccumulation, MicroBatchesEqualOneBatch) {
  for (const MeshShape& mesh : {MeshShape{1, 1, 1}, MeshShape{2, 1, 1}, MeshShape{1, 2, 2}, MeshShape{2, 2, 2}}) {
    Case c = make_case("RnopeSwa", mesh);
    c.config.training.stages[0].batch = 4 * mesh.data_parallel;
    const std::vector<Sample> samples = samples_of_step(c, 0);
    const NaiveWeights weights = random_weights(c.config.model, 12);
    c.config.training.stages[0].micro_batch = 4;
    const LossAndGradients whole = gradients_on_mesh(c.config, weights, samples);
    for (int64_t micro_batch : {1, 2}) {
      c.config.training.stages[0].micro_batch = micro_batch;
      expect_same(gradients_on_mesh(c.config, weights, samples), whole.loss, whole.gradients, text_of(mesh));
    }
  }
}

// New memory that, like a device's and unlike the host's, is not zero: every number in it is NaN.
class UsedMemory final : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;
  std::unique_ptr<Buffer> allocate(int64_t bytes) override {
    std::unique_ptr<Buffer> buffer = ForwardingBackend::allocate(bytes);
    std::memset(buffer->data(), 0xff, static_cast<size_t>(bytes));
    return buffer;
  }
};

// The first micro-batch sets each gradient, whatever the memory held before, and the others add: also where a rank has
// no rows, and with every value of training.recompute.
TEST(GradientAccumulation, BeginsFromNothing) {
  using Recompute = TrainingConfig::Recompute;
  Faults used;
  used.in_backend = [](Backend& inner, const Mesh&) { return std::make_unique<UsedMemory>(inner); };
  for (const MeshShape& mesh :
       {MeshShape{1, 1, 1}, MeshShape{2, 1, 1}, MeshShape{1, 8, 1}, MeshShape{1, 2, 2}, MeshShape{2, 2, 2}})
    for (const std::string& name : case_names())
      for (const Recompute recompute : {Recompute::kNothing, Recompute::kBlock, Recompute::kBlockButAttention}) {
        Case c = make_case(name, mesh);
        c.config.training.recompute = recompute;
        const NaiveWeights weights = random_weights(c.config.model, 13);
        const LossAndGradients expected = gradients_on_mesh(c.config, weights, c.samples),
                               actual = gradients_on_mesh(c.config, weights, c.samples, used);
        EXPECT_EQ(actual.loss, expected.loss) << name << " " << text_of(mesh);
        EXPECT_EQ(difference(actual.gradients, expected.gradients).relative, 0) << name << " " << text_of(mesh);
      }
}

}  // namespace
}  // namespace ropewalk
