// The CUDA backend in whole models: the error of gradients, and of log-probabilities with a key-value cache, against
// fp64 is at most twice that of the reference backend in bf16, on one rank and on several.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/make_kernels.h"
#include "tests/equivalence/errors.h"
#include "tests/equivalence/mesh_run.h"
#include "tests/support/cuda/under_test.h"
#include "tests/support/models.h"
#include "trainer/inference/generate.h"

namespace ropewalk {
namespace {

// Windows that are smaller and larger than a chunk, depending on the ranks, and fewer KV heads than query heads.
Config config_on(const MeshShape& mesh, bool normed, int64_t head_size) {
  const auto kind = [&](LayerKind k) { return normed ? with_qk_norm(k) : k; };
  ModelConfig model = small_model({kind(sliding_rope(20)), kind(sliding_rope(70)), kind(full_nope())});
  model.width = 72;
  model.hidden = 56;
  model.query_heads = 4;
  model.key_heads = 2;
  model.head_size = head_size;
  model.vocabulary = 90;
  model.initializer_range = 0.1;
  Config config = test_config(model, mesh, 150, 2 * mesh.data_parallel);
  config.training.loss_chunk = 64;
  return config;
}

struct Ranks {
  MeshShape mesh;
  DeviceTransport transport;
  bool normed = false;
  int64_t head_size = 64;
};

std::string name_of(const Ranks& ranks) {
  return text_of(ranks.mesh) + (ranks.transport == DeviceTransport::kNccl ? "_Nccl" : "_Staged") +
         (ranks.normed ? "_QkNorm" : "") + (ranks.head_size == 128 ? "_WideHeads" : "");
}
void PrintTo(const Ranks& ranks, std::ostream* out) { *out << name_of(ranks); }

class CudaModel : public testing::TestWithParam<Ranks> {
 protected:
  void SetUp() override {
    const std::string reason = why_no_ranks(ranks_.mesh.size(), ranks_.transport);
    if (!reason.empty()) GTEST_SKIP() << reason;
    for (int64_t i = 0; i < config_.training.stages[0].batch; ++i)
      samples_.push_back(random_sample(150, config_.model.vocabulary,
                                       i % 2 ? std::vector<int64_t>{40, 41, 130} : std::vector<int64_t>{},
                                       static_cast<uint64_t>(i)));
    on_cuda_.on_device = [this](const std::shared_ptr<Communicator>& host) {
      return make_rank_under_test(host, ranks_.transport, {std::chrono::minutes(1)});
    };
  }
  LossAndGradients gradients(BackendKind backend, const Faults& faults = {}) {
    config_.parallel.backend = backend;
    return gradients_on_mesh(config_, weights_, samples_, faults);
  }

  const Ranks ranks_ = GetParam();
  Config config_ = config_on(ranks_.mesh, ranks_.normed, ranks_.head_size);
  const NaiveWeights weights_ = rounded_to_bf16(random_weights(config_.model, 51));
  std::vector<Sample> samples_;
  Faults on_cuda_;
};

TEST_P(CudaModel, GradientsErrAtMostTwiceAsMuchAsPlainBF16) {
  const LossAndGradients exact = gradients(BackendKind::kReferenceF64);
  const LossAndGradients plain = gradients(BackendKind::kReferenceBF16);
  const LossAndGradients fast = gradients(BackendKind::kReferenceBF16, on_cuda_);

  const Errors allowed = errors_of(plain.gradients, exact.gradients),
               errors = errors_of(fast.gradients, exact.gradients);
  EXPECT_LE(errors.mean, 2 * allowed.mean);
  EXPECT_LE(errors.worst, 2 * allowed.worst);
  // A mean of some hundred losses, each from a logit rounded to bf16.
  EXPECT_NEAR(fast.loss, exact.loss, 0x1p-8 * exact.loss);
  RecordProperty("mean_error_over_plain", std::to_string(errors.mean / allowed.mean));
}

class CudaSteps : public CudaModel {
 protected:
  Steps steps() {
    config_.parallel.backend = BackendKind::kReferenceBF16;
    config_.training.learning_rate = 0.02;
    return steps_on_mesh(
        config_, weights_, [&](int64_t) { return samples_; }, 0, 1, on_cuda_);
  }
};

TEST_P(CudaSteps, GiveTheSameBitsTwice) { EXPECT_TRUE(steps() == steps()); }

TEST_P(CudaSteps, LeaveTheRoundedMasterWeightsOnAllRanks) {
  config_.parallel.backend = BackendKind::kReferenceBF16;
  config_.training.learning_rate = 0.02;
  for (const int64_t bucket_parameters : {0, 65536}) {
    config_.parallel.bucket_parameters = bucket_parameters;
    for (const int updates : {0, 2}) {
      const UpdatedWeights after = weights_after(updates, config_, on_cuda_);
      EXPECT_TRUE(after.weights == rounded_to_bf16(after.masters))
          << bucket_parameters << ", " << updates << " updates";
    }
  }
}

// Run on a device by launch/test_gpu.sh.
TEST_P(CudaSteps, DISABLED_GiveTheSameBitsAHundredTimes) {
  const Steps first = steps();
  for (int run = 1; run < 100; ++run) ASSERT_TRUE(steps() == first) << "run " << run;
}

class CudaGeneration : public CudaModel {
 protected:
  // A short prompt, one within a window and one of several windows, all at once. The short one has one token, except
  // over NCCL: the emulated NCCL miscounts exchanges in which only some ranks have messages.
  std::vector<GenerationRequest> requests() const {
    std::vector<GenerationRequest> out;
    for (const int64_t length : {ranks_.transport == DeviceTransport::kNccl ? 7 : 1, 17, 95})
      out.push_back({.prompt = {samples_[0].tokens.begin(), samples_[0].tokens.begin() + length},
                     .tokens = 12,
                     .sampling = {.temperature = 1}});
    return out;
  }
  // The log-probabilities of the continuations, recomputed without a cache.
  std::vector<double> recomputed(BackendKind backend, const std::vector<Generation>& results) {
    config_.parallel.backend = backend;
    config_.parallel.mesh = {};
    std::vector<double> out;
    on_mesh(config_, [&](RankRun& run) {
      set_state(run, weights_);
      for (size_t i = 0; i < results.size(); ++i) {
        std::vector<int32_t> tokens = requests()[i].prompt;
        for (const int32_t token : results[i].tokens) {
          const std::vector<double> logits = run.trainer.predictor().next_token_logits(tokens);
          double sum = 0;
          for (const double logit : logits) sum += std::exp(logit);
          out.push_back(logits[static_cast<size_t>(token)] - std::log(sum));
          tokens.push_back(token);
        }
      }
    });
    return out;
  }
  static double mean_error(const std::vector<double>& actual, const std::vector<double>& expected) {
    double sum = 0;
    for (size_t i = 0; i < expected.size(); ++i) sum += std::abs(actual[i] - expected[i]);
    return sum / static_cast<double>(expected.size());
  }
};

TEST_P(CudaGeneration, ErrsAtMostTwiceAsMuchAsPlainBF16WithoutACache) {
  config_.parallel.backend = BackendKind::kReferenceBF16;
  std::vector<Generation> results;
  on_mesh(
      config_,
      [&](RankRun& run) {
        set_state(run, weights_);
        std::vector<Generation> here = generate(run.trainer.predictor(), requests(), 3);
        if (run.mesh.world().rank() == 0) results = std::move(here);
      },
      on_cuda_);
  std::vector<double> fast;
  for (const Generation& result : results)
    fast.insert(fast.end(), result.log_probabilities.begin(), result.log_probabilities.end());
  const std::vector<double> exact = recomputed(BackendKind::kReferenceF64, results);
  ASSERT_EQ(fast.size(), exact.size());
  EXPECT_LE(mean_error(fast, exact), 2 * mean_error(recomputed(BackendKind::kReferenceBF16, results), exact));
}

constexpr DeviceTransport kStaged = DeviceTransport::kStaged, kNccl = DeviceTransport::kNccl;

INSTANTIATE_TEST_SUITE_P(Meshes, CudaModel,
                         testing::Values(Ranks{{1, 1, 1}, kStaged, false}, Ranks{{1, 1, 1}, kStaged, true},
                                         Ranks{{1, 2, 1}, kStaged, false, 128}, Ranks{{1, 8, 1}, kStaged, false},
                                         Ranks{{1, 3, 1}, kStaged, true}, Ranks{{1, 3, 1}, kNccl, false},
                                         Ranks{{1, 1, 2}, kStaged, false}, Ranks{{1, 1, 2}, kNccl, true},
                                         Ranks{{2, 2, 2}, kStaged, false}, Ranks{{2, 2, 2}, kNccl, true}),
                         [](const auto& test) { return name_of(test.param); });
INSTANTIATE_TEST_SUITE_P(Meshes, CudaSteps,
                         testing::Values(Ranks{{1, 1, 1}, kStaged, false}, Ranks{{1, 2, 2}, kStaged, true},
                                         Ranks{{1, 2, 2}, kNccl, true}),
                         [](const auto& test) { return name_of(test.param); });
INSTANTIATE_TEST_SUITE_P(Meshes, CudaGeneration,
                         testing::Values(Ranks{{1, 1, 1}, kStaged, false, 128}, Ranks{{1, 3, 1}, kNccl, true},
                                         Ranks{{1, 2, 2}, kStaged, false}),
                         [](const auto& test) { return name_of(test.param); });

}  // namespace
}  // namespace ropewalk
