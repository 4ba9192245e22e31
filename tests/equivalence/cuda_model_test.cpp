// The cuda backend in whole models: gradients err against fp64 at most twice as much as those of the plain version in
// bf16, on one rank and on several.
#include <gtest/gtest.h>

#include "tests/equivalence/errors.h"
#include "tests/equivalence/mesh_run.h"
#include "tests/kernels/cuda_suite.h"
#include "tests/support/models.h"

namespace ropewalk {
namespace {

// Head size 64; a window below, at and above a rank's chunk, and grouped heads.
Config config_on(const MeshShape& mesh, bool normed) {
  const auto kind = [&](LayerKind k) { return normed ? with_qk_norm(k) : k; };
  ModelConfig model = small_model({kind(sliding_rope(20)), kind(sliding_rope(70)), kind(full_nope())});
  model.width = 72;
  model.hidden = 56;
  model.query_heads = 4;
  model.key_heads = 2;
  model.head_size = 64;
  model.vocabulary = 90;
  model.initializer_range = 0.1;
  Config config = test_config(model, mesh, 150, 2 * mesh.data_parallel);
  config.training.loss_chunk = 64;
  return config;
}

class CudaModel : public testing::TestWithParam<std::tuple<MeshShape, bool>> {};

TEST_P(CudaModel, GradientsErrAtMostTwiceAsMuchAsPlainBF16) {
  const auto& [mesh, normed] = GetParam();
  Config config = config_on(mesh, normed);
  std::vector<Sample> samples;
  for (int64_t i = 0; i < config.training.stages[0].batch; ++i)
    samples.push_back(random_sample(150, config.model.vocabulary,
                                    i % 2 ? std::vector<int64_t>{40, 41, 130} : std::vector<int64_t>{},
                                    static_cast<uint64_t>(i)));
  const NaiveWeights weights = rounded_to_bf16(random_weights(config.model, 51));

  config.parallel.backend = Backend::kReferenceF64;
  const LossAndGradients exact = gradients_on_mesh(config, weights, samples);
  config.parallel.backend = Backend::kReferenceBF16;
  const LossAndGradients plain = gradients_on_mesh(config, weights, samples);
  Faults on_cuda;
  on_cuda.in_kernels = [](Kernels&, const Mesh&) { return make_cuda_under_test(); };
  const LossAndGradients fast = gradients_on_mesh(config, weights, samples, on_cuda);

  const Errors allowed = errors_of(plain.gradients, exact.gradients),
               errors = errors_of(fast.gradients, exact.gradients);
  EXPECT_LE(errors.mean, 2 * allowed.mean);
  EXPECT_LE(errors.worst, 2 * allowed.worst);
  // A mean of some hundred losses, each of a logit rounded to bf16.
  EXPECT_NEAR(fast.loss, exact.loss, 0x1p-8 * exact.loss);
  RecordProperty("mean_error_over_plain", std::to_string(errors.mean / allowed.mean));
}

INSTANTIATE_TEST_SUITE_P(
    Meshes, CudaModel,
    testing::Combine(testing::Values(MeshShape{1, 1, 1}, MeshShape{1, 3, 1}, MeshShape{1, 1, 2}, MeshShape{2, 2, 2}),
                     testing::Bool()),
    [](const auto& test) { return text_of(std::get<0>(test.param)) + (std::get<1>(test.param) ? "_QkNorm" : ""); });

}  // namespace
}  // namespace ropewalk
