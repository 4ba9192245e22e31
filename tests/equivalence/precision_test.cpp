// The cpu backend against fp64, through whole models, in fp32 and in bf16: the rule of Flash-Attention's tests
// (Dao-AILab/flash-attention, hopper/test_flash_attn.py). The error of a fast implementation against fp64 may be at
// most twice that of a plain one in the same precision (the reference backend); so no tolerance is guessed.
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

struct Precision {
  const char* name;
  BackendKind plain, fast;
  double half_ulp;  // relative
  double of_loss;   // bound on the loss's relative error
};

// The loss is a mean of at most some hundred positive numbers. In fp32 each has a few roundings of its own; in bf16
// each comes from logits that are rounded to bf16.
const Precision kPrecisions[] = {{"Fp32", BackendKind::kReferenceF32, BackendKind::kCpu, 0x1p-24, 16 * 0x1p-24},
                                 {"Bf16", BackendKind::kReferenceBF16, BackendKind::kCpuBF16, 0x1p-9, 0x1p-8}};

class CpuModel : public testing::TestWithParam<Precision> {};

// At most twice the error, for the mean over the tensors and for the worst tensor, but not for each one: a tensor of
// few elements may have a small error by chance.
void expect_at_most_twice_the_plain_error(const Case& c, const Precision& precision) {
  const NaiveWeights weights = rounded_to_bf16(random_weights(c.config.model, 41));  // the same in all precisions
  const auto with_backend = [&](BackendKind backend) {
    Config config = c.config;
    config.parallel.backend = backend;
    return gradients_on_mesh(config, weights, c.samples);
  };
  const LossAndGradients exact = with_backend(BackendKind::kReferenceF64);
  const LossAndGradients plain = with_backend(precision.plain), fast = with_backend(precision.fast);
  const Errors allowed = errors_of(plain.gradients, exact.gradients),
               errors = errors_of(fast.gradients, exact.gradients);
  EXPECT_GT(allowed.mean, precision.half_ulp / 4) << "no error worth the name: is this " << precision.name << "?";
  EXPECT_LE(errors.mean, 2 * allowed.mean) << c.name;
  EXPECT_LE(errors.worst, 2 * allowed.worst) << c.name;
  EXPECT_NEAR(fast.loss, exact.loss, precision.of_loss * exact.loss) << c.name;
}

TEST_P(CpuModel, GradientsErrAtMostTwiceAsMuchAsPlainOnes) {
  for (const std::string& name : case_names()) {
    for (const MeshShape& mesh : {MeshShape{1, 1, 1}, MeshShape{1, 2, 2}, MeshShape{2, 2, 2}, MeshShape{1, 1, 8}}) {
      SCOPED_TRACE(text_of(mesh));
      expect_at_most_twice_the_plain_error(make_case(name, mesh), GetParam());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Precisions, CpuModel, testing::ValuesIn(kPrecisions),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace ropewalk
