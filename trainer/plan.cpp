#include "trainer/plan.h"

#include "parallel/sequence_layout.h"

namespace ropewalk {
namespace {

Batch batch_of(int64_t samples, int64_t length) {
  const std::vector<int32_t> zeros(static_cast<size_t>(length));
  return {std::vector<Sample>(static_cast<size_t>(samples), Sample{zeros, zeros, zeros})};
}

}  // namespace

StepPlan plan_step(const Config& config, int rank) {
  Mesh mesh = Mesh::planned(config.parallel.mesh, rank, static_cast<int>(config.model.key_heads));
  PlanningKernels kernels(compute_type(config.parallel.backend));
  Arena arena(kernels);
  Trainer trainer(config, {mesh, kernels, arena});
  const int64_t length = config.data.sequence_length, samples = config.training.batch / mesh.shape().data_parallel;
  trainer.step(batch_of(samples, length), 0);

  StepPlan plan{.memory = trainer.memory(), .flops = kernels.flops()};
  plan.batch_bytes = samples * length * 3 * size_of(DType::kI32);
  plan.tokens = std::min(samples, config.training.micro_batch) *
                SequenceLayout(length, mesh.shape().context_parallel).local_length(mesh.context_rank());
  for (const auto& [axis, counters] : mesh.counters()) plan.bytes_sent.emplace_back(axis, counters.bytes_sent);
  return plan;
}

}  // namespace ropewalk
