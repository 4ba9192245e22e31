#include "trainer/run/estimate.h"

#include "parallel/attention/sequence_layout.h"
#include "trainer/config/stages.h"
#include "trainer/model/model_flops.h"

namespace ropewalk {
namespace {

Batch batch_of(int64_t samples, int64_t length) {
  const std::vector<int32_t> zeros(static_cast<size_t>(length));
  return {std::vector<Sample>(static_cast<size_t>(samples), Sample{zeros, zeros, zeros})};
}

// A rank that is there alone, on a device that does nothing.
class PlannedRank {
 public:
  PlannedRank(const Config& config, const Stage& stage, int rank)
      : stage_(stage),
        mesh_(Mesh::planned(config.parallel.mesh, rank, static_cast<int>(config.model.key_heads))),
        kernels_(std::make_unique<CountingBackend>(compute_type(config.parallel.backend))),
        backend_(dynamic_cast<CountingBackend&>(kernels_.backend())),
        arena_(kernels_),
        trainer_(config, {mesh_, kernels_, arena_}) {
    trainer_.begin_stage(stage);
  }

  const Mesh& mesh() const { return mesh_; }
  const Trainer& trainer() const { return trainer_; }

  // Adds `times` times what a step on so many sequences sends and computes.
  void add_step(StepEstimate& plan, int64_t samples, int64_t times) {
    if (times == 0) return;
    const auto bytes_before = mesh_.counters();
    const CountingBackend::Flops before = backend_.flops();
    trainer_.step(batch_of(samples, stage_.sequence_length), stage_.first_step);

    const auto bytes_after = mesh_.counters();
    plan.bytes_sent.resize(bytes_after.size());
    for (size_t axis = 0; axis < bytes_after.size(); ++axis) {
      plan.bytes_sent[axis].first = bytes_after[axis].first;
      plan.bytes_sent[axis].second +=
          times * (bytes_after[axis].second.bytes_sent - bytes_before[axis].second.bytes_sent);
    }
    plan.flops.add(backend_.flops(), static_cast<double>(times));
    plan.flops.add(before, -static_cast<double>(times));
  }

 private:
  const Stage& stage_;
  Mesh mesh_;
  Kernels kernels_;
  CountingBackend& backend_;
  Arena arena_;
  Trainer trainer_;
};

}  // namespace

StepEstimate estimate_step(const Config& config, const Stage& stage, int rank) {
  PlannedRank planned(config, stage, rank);
  const Mesh& mesh = planned.mesh();
  const int64_t length = stage.sequence_length, samples = stage.batch / mesh.shape().data_parallel;
  const int64_t micro = std::min(samples, stage.micro_batch), whole = samples / micro, rest = samples % micro;

  // Every whole micro-batch is the same work, so a step of n of them is a step of one, and n - 1 times what a step of
  // two has more than that.
  StepEstimate plan;
  planned.add_step(plan, micro + rest, 1);
  planned.add_step(plan, 2 * micro, whole - 1);
  planned.add_step(plan, micro, 1 - whole);

  plan.memory = planned.trainer().memory();
  plan.batch_bytes = samples * length * 3 * size_of(DType::kI32);
  plan.tokens = micro * SequenceLayout(length, mesh.shape().context_parallel).local_length(mesh.context_rank());
  plan.model_flops = step_flops(config.model, stage) / mesh.shape().size();
  return plan;
}

StepEstimate estimate_run(const Config& config, int rank) {
  StepEstimate most;
  for (const Stage& stage : config.training.stages) {
    if (!fits(stage, config.parallel.mesh)) continue;
    StepEstimate plan = estimate_step(config, stage, rank);
    if (plan.memory.arena() > most.memory.arena()) most = std::move(plan);
  }
  return most;
}

}  // namespace ropewalk
