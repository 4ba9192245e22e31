#include "tests/support/training.h"

#include "kernels/make_kernels.h"

namespace ropewalk {

Config test_config(const ModelConfig& model, const MeshShape& mesh, int64_t length, int64_t batch) {
  Config config;
  config.model = model;
  config.parallel.mesh = mesh;
  config.parallel.backend = BackendKind::kReferenceF64;
  config.parallel.bucket_parameters = 0;  // one bucket per block, so that small models have several
  config.training.stages[0].sequence_length = length;
  config.training.steps = 10;
  config.validation.sample_tokens = 0;
  config.training.stages[0].batch = batch;
  return config;
}

RankOnThread::RankOnThread(const Config& config, RankDevice device)
    : kernels_(std::move(device.kernels)),
      mesh_(config.parallel.mesh, std::move(device.world), static_cast<int>(config.model.key_heads)),
      arena_(*kernels_, 1 << 20) {}

}  // namespace ropewalk
