// fp32 kernels against fp64, through whole models: the rule of Flash-Attention's tests (Dao-AILab/flash-attention,
// hopper/test_flash_attn.py). The error of a fast implementation against fp64 may be at most twice that of a plain one
// in the same precision (the reference backend in fp32); so no tolerance is guessed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/make_kernels.h"
#include "tests/equivalence/cases.h"
#include "tests/equivalence/errors.h"
#include "tests/equivalence/mesh_run.h"
#include "tests/support/models.h"

namespace ropewalk {
namespace {

// At most twice the error, for the mean over the tensors and for the worst tensor, but not for each one: a tensor of
// few elements may have a small error by chance.
void expect_at_most_twice_the_plain_error(const Case& c) {
  NaiveWeights weights = random_weights(c.config.model, 41);
  for (auto& [name, values] : weights) {
    for (double& value : values) value = static_cast<float>(value);  // the same weights in both precisions
  }
  const auto with_backend = [&](BackendKind backend) {
    Config config = c.config;
    config.parallel.backend = backend;
    return gradients_on_mesh(config, weights, c.samples);
  };
  const LossAndGradients exact = with_backend(BackendKind::kReferenceF64);
  const LossAndGradients plain = with_backend(BackendKind::kReferenceF32), fast = with_backend(BackendKind::kCpu);
  const Errors allowed = errors_of(plain.gradients, exact.gradients),
               errors = errors_of(fast.gradients, exact.gradients);
  EXPECT_GT(allowed.mean, 0x1p-26) << "no error worth the name: is this fp32 against fp64?";
  EXPECT_LE(errors.mean, 2 * allowed.mean) << c.name;
  EXPECT_LE(errors.worst, 2 * allowed.worst) << c.name;
  // The loss is a mean of at most some hundred positive numbers, each with a few roundings of its own.
  EXPECT_NEAR(fast.loss, exact.loss, 16 * 0x1p-24 * exact.loss) << c.name;
}

TEST(Precision, CpuGradientsErrAtMostTwiceAsMuchAsPlainFp32) {
  for (const std::string& name : case_names()) {
    for (const MeshShape& mesh : {MeshShape{1, 1, 1}, MeshShape{1, 2, 2}, MeshShape{2, 2, 2}, MeshShape{1, 1, 8}}) {
      SCOPED_TRACE(text_of(mesh));
      expect_at_most_twice_the_plain_error(make_case(name, mesh));
    }
  }
}

}  // namespace
}  // namespace ropewalk
