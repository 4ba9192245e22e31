// Training in mixed precision: bf16 weights and activations; fp32 gradients, master weights and moments, on the host
// backends. The reference backend takes the place of a GPU, so that the trainer's part is tested on any machine.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/make_kernels.h"
#include "tests/equivalence/cases.h"
#include "tests/equivalence/errors.h"
#include "tests/equivalence/mesh_run.h"
#include "tests/kernels/backends.h"
#include "tests/support/models.h"

namespace ropewalk {
namespace {

constexpr double kHalfUlp = 0x1p-9;  // of bf16, relative

Case in(BackendKind backend, Case c) {
  c.config.parallel.backend = backend;
  return c;
}

class MixedPrecision : public testing::TestWithParam<BackendKind> {};

INSTANTIATE_TEST_SUITE_P(Backends, MixedPrecision, testing::Values(BackendKind::kReferenceBF16, BackendKind::kCpuBF16),
                         backend_name);

Errors gradient_errors(BackendKind backend, const Case& c, const NaiveWeights& weights) {
  const Case exact = in(BackendKind::kReferenceF64, c), mixed = in(backend, c);
  return errors_of(gradients_on_mesh(mixed.config, weights, c.samples).gradients,
                   gradients_on_mesh(on_one_rank(exact.config), weights, c.samples).gradients);
}

// A rounding to bf16 has a relative error of at most 2^-9, and typically of 2^-9 / sqrt(3). A gradient passes about
// twelve roundings per block (norm, q, k, v, rotation, o, gate, up, h, sum, y) and as many in the backward. They add as
// a random walk, by sqrt(24 * layers), and relative to a tensor's largest entry their effect is no larger. The errors
// are means over the tensors; the factor 2 allows for small models, in which the law of large numbers is weak.
TEST_P(MixedPrecision, GradientsErrByRoundings) {
  for (const std::string& name : case_names()) {
    const Case c = make_case(name, {1, 1, 1});
    const auto layers = static_cast<double>(c.config.model.layers.size());
    const Errors errors = gradient_errors(GetParam(), c, rounded_to_bf16(random_weights(c.config.model, 41)));
    EXPECT_LE(errors.mean, 2 * std::sqrt(24 * layers) * kHalfUlp / std::sqrt(3)) << name;
    EXPECT_GE(errors.mean, kHalfUlp / 16) << name << ": is this bf16 against fp64?";
  }
}

// Attention over several ranks accumulates o and lse in fp32 and sends the gradients of keys and values in fp32, and
// parameter gradients are summed in fp32: cutting the sequence or the batch adds no rounding to bf16. It changes the
// roundings of P, which are relative to the largest score of a piece, so the errors are others of the same size: their
// sums over all cases and some weights, a hundred tensors, agree to about a tenth. Tensor ranks round their parts of a
// sum to bf16. Each of the T parts is typically smaller by sqrt(T), so together their error is as large as that of the
// sum's own rounding: a factor of sqrt(2).
TEST_P(MixedPrecision, MeshesErrAsOneRankDoes) {
  for (const auto& [mesh, factor] : {std::pair{MeshShape{1, 8, 1}, 1.15},
                                     {MeshShape{2, 2, 1}, 1.15},
                                     {MeshShape{1, 2, 2}, 1.15 * std::sqrt(2.0)},
                                     {MeshShape{1, 1, 8}, 1.15 * std::sqrt(2.0)}}) {
    double cut = 0, whole = 0;
    for (const std::string& name : case_names())
      for (const uint64_t seed : {43, 44, 45}) {
        const Case c = make_case(name, mesh);
        Case alone = c;
        alone.config = on_one_rank(c.config);
        const NaiveWeights weights = rounded_to_bf16(random_weights(c.config.model, seed));
        cut += gradient_errors(GetParam(), c, weights).mean;
        whole += gradient_errors(GetParam(), alone, weights).mean;
      }
    EXPECT_LE(cut, factor * whole) << text_of(mesh);
  }
}

// Steps far smaller than an ulp of a bf16 weight of about 1 must add up, in the master weights. Compares how far the
// weights have moved with how far they move in fp64; without master weights they would not move at all.
TEST_P(MixedPrecision, SmallStepsAddUp) {
  for (const MeshShape& mesh : {MeshShape{1, 1, 1}, MeshShape{2, 2, 2}}) {
    Case c = make_case("RnopeSwa", mesh);
    c.config.training.stages[0].batch = 4;
    c.config.training.learning_rate = 1e-5;
    const NaiveWeights weights = rounded_to_bf16(random_weights(c.config.model, 44));
    const auto moved = [&](BackendKind backend) {
      const Case run = in(backend, c);
      NaiveWeights state = steps_on_mesh(
                               run.config, weights, [&](int64_t step) { return samples_of_step(run, step); }, 0, 8)
                               .state;
      NaiveWeights out;
      for (const auto& [name, values] : weights) {
        out[name] = state.at(name);
        for (size_t i = 0; i < values.size(); ++i) out[name][i] -= values[i];
      }
      return out;
    };
    const NaiveWeights exact = moved(BackendKind::kReferenceF64), mixed = moved(GetParam());
    double difference = 0, all = 0;
    for (const auto& [name, values] : exact)
      for (size_t i = 0; i < values.size(); ++i) {
        difference += std::pow(mixed.at(name)[i] - values[i], 2);
        all += std::pow(values[i], 2);
      }
    // AdamW moves a weight by about the learning rate, however small its gradient; if the gradient has an error of a
    // few percent, so has the move. The bound allows four times that, and is still far from 1, the error of weights
    // that do not move, or that jump from one bf16 value to the next.
    EXPECT_LE(std::sqrt(difference / all), 0.2) << text_of(mesh);
  }
}

// The ranks compute with the master weights rounded to bf16, whichever rank owns these: cuts between parameters with
// and without weight decay fall on any element, in one bucket and in many.
TEST_P(MixedPrecision, WeightsAreTheRoundedMasterWeightsOfAllRanks) {
  for (const MeshShape& mesh : {MeshShape{1, 1, 1}, MeshShape{3, 1, 1}, MeshShape{2, 2, 1}, MeshShape{2, 2, 2}})
    for (const int64_t bucket_parameters : {int64_t{0}, int64_t{1000}, int64_t{65536}})
      for (const int updates : {0, 1, 3}) {
        Case c = in(GetParam(), make_case("QkNorm", mesh));
        c.config.model.width = 17;
        c.config.model.hidden = 26;
        c.config.parallel.bucket_parameters = bucket_parameters;
        c.config.training.learning_rate = 0.02;
        const UpdatedWeights after = weights_after(updates, c.config);
        EXPECT_TRUE(after.weights == rounded_to_bf16(after.masters))
            << text_of(mesh) << ", buckets of " << bucket_parameters << ", " << updates << " updates";
        EXPECT_EQ(after.weights == after.masters, updates == 0) << "is this bf16?";
      }
}

// A gradient is the sum over many micro-batches: in bf16 it would stop growing at 2^8 times the value that is added.
// The mean of 2^10 equal micro-batches equals the gradient of one: the factor 2^-10 changes no rounding, and in fp32
// the addition of each token rounds once.
TEST_P(MixedPrecision, GradientsOfManyMicroBatchesAddUp) {
  Case c = in(GetParam(), make_case("RnopeSwa", {1, 1, 1}));
  c.config.training.stages[0].micro_batch = 1;
  const NaiveWeights weights = rounded_to_bf16(random_weights(c.config.model, 45));
  const auto gradients_of = [&](size_t copies) {
    return gradients_on_mesh(c.config, weights, std::vector<Sample>(copies, c.samples.front())).gradients;
  };
  const auto additions = static_cast<double>(1024 * c.samples.front().tokens.size());
  EXPECT_LE(difference(gradients_of(1024), gradients_of(1)).relative, additions * 0x1p-24);
}

}  // namespace
}  // namespace ropewalk
