#include "trainer/run/estimate.h"

#include <algorithm>

#include "parallel/attention/sequence_layout.h"
#include "parallel/communicator/counting_communicator.h"
#include "trainer/config/stages.h"
#include "trainer/evaluation/evaluate.h"
#include "trainer/inference/generate.h"
#include "trainer/model/model_flops.h"

namespace ropewalk {
namespace {

Batch batch_of(int64_t samples, int64_t length) {
  return {std::vector<Sample>(static_cast<size_t>(samples), Sample::blank(length))};
}

int64_t sample_bytes(const Stage& stage) { return stage.sequence_length * 3 * size_of(DType::kI32); }

// Resident memory of a process without tensors, measured under Debian 12 and Open MPI 4.1: 18 MiB for one rank, which
// needs no MPI; 23 to 27 MiB per rank for 2 to 8 ranks. tests/launch/plan_test.py compares complete processes.
constexpr int64_t kProgramBytesAlone = 20 << 20, kProgramBytesWithMpi = 30 << 20;

// One rank of the mesh, running alone on a backend that only counts.
struct CountingRank {
  CountingRank(const Config& config, int rank_)
      : mesh(Mesh::counting(config.parallel.mesh, rank_, static_cast<int>(config.model.key_heads), &groups)),
        kernels(std::make_unique<CountingBackend>(compute_type(config.parallel.backend))),
        backend(dynamic_cast<CountingBackend&>(kernels.backend())),
        arena(kernels) {}
  Rank rank() { return {mesh, kernels, arena}; }

  // Adds what the process needs besides the tensors. Each group keeps the scratch memory of its largest reduction; the
  // gradient group has two buckets in flight, so it keeps twice that.
  void add_process(StepEstimate& estimate, bool sums_on_host) const {
    estimate.program_bytes = mesh.shape().size() > 1 ? kProgramBytesWithMpi : kProgramBytesAlone;
    if (!sums_on_host) return;
    for (const auto& [axis, group] : groups)
      estimate.message_bytes += (axis == "gradient" ? 2 : 1) * group->scratch_bytes();
  }

  // The tokens of `sequences` sequences that this rank holds.
  int64_t tokens(const Stage& stage, int64_t sequences) const {
    const SequenceLayout layout(stage.sequence_length, mesh.shape().context_parallel);
    return sequences * layout.local_length(mesh.context_rank());
  }

  // Runs `work` once, and adds `times` times what it sends and computes.
  template <typename Work>
  void count(StepEstimate& estimate, int64_t times, const Work& work) {
    if (times == 0) return;
    add_counters(estimate, -times);
    work();
    add_counters(estimate, times);
  }

  void add_counters(StepEstimate& estimate, int64_t times) {
    const auto counters = mesh.counters();
    estimate.bytes_sent.resize(counters.size());
    estimate.collective_bytes.resize(counters.size());
    for (size_t axis = 0; axis < counters.size(); ++axis) {
      const auto& [name, counts] = counters[axis];
      estimate.bytes_sent[axis].first = name;
      estimate.bytes_sent[axis].second += times * counts.bytes_sent;
      const CountingCommunicator& group = *groups.at(name);
      std::vector<int64_t>& by_rank = estimate.collective_bytes[axis];
      by_rank.resize(static_cast<size_t>(group.size()));
      for (int rank = 0; rank < group.size(); ++rank)
        by_rank[static_cast<size_t>(rank)] += times * group.sent_in_collectives(rank);
    }
    estimate.flops.add(backend.flops(), times);
    estimate.memory_traffic += times * backend.work().memory_bytes;
  }

  Mesh::CountingGroups groups;
  Mesh mesh;
  Kernels kernels;
  CountingBackend& backend;
  Arena arena;
};

bool sums_on_host(const Config& config) { return config.parallel.backend != BackendKind::kCuda; }

// Generates the beginning of the run's sample of text, which needs as much memory as all of it. A prompt has at most as
// many tokens as bytes.
void begin_sample(const Predictor& predictor, const ValidationConfig& validation) {
  if (validation.sample_tokens == 0) return;
  const std::vector<int32_t> prompt(std::max<size_t>(1, validation.prompt.size()));
  Generator generator(predictor, 1, std::ssize(prompt) + validation.sample_tokens);
  generator.admit({.prompt = prompt, .tokens = validation.sample_tokens});
  generator.step();
}

// All full micro-batches are the same work. So a step of n is counted as a step of one, plus n - 1 times the difference
// between a step of two and a step of one.
StepEstimate estimate_training(const Config& config, const Stage& stage, int rank) {
  CountingRank counting(config, rank);
  Trainer trainer(config, counting.rank());
  trainer.begin_stage(stage);
  const int64_t samples = stage.batch / config.parallel.mesh.data_parallel;
  const int64_t micro = std::min(samples, stage.micro_batch), whole = samples / micro, rest = samples % micro;
  StepEstimate out;
  const auto add_steps = [&](int64_t count, int64_t times) {
    counting.count(out, times, [&] { trainer.step(batch_of(count, stage.sequence_length), stage.first_step); });
  };
  add_steps(micro + rest, 1);
  add_steps(2 * micro, whole - 1);
  add_steps(micro, 1 - whole);
  begin_sample(trainer.predictor(), config.validation);
  out.memory = trainer.memory();
  out.tokens = counting.tokens(stage, micro);
  out.batch_bytes = sample_bytes(stage) * samples;
  counting.add_process(out, sums_on_host(config));
  out.model_flops = ModelFlops(config.model).of_step(stage) / config.parallel.mesh.size();
  return out;
}

StepEstimate estimate_inference(const Config& config, const Stage& stage, int rank) {
  CountingRank counting(config, rank);
  const ModelReplica replica(config, counting.rank());
  const EvaluationOptions options{stage.micro_batch, config.validation.position_ranges};
  StepEstimate out;
  counting.count(out, 1, [&] {
    evaluate(Predictor(replica), batch_of(stage.micro_batch, stage.sequence_length), options, counting.mesh);
  });
  out.memory.weights = replica.weights.flat().bytes();
  out.memory.working = counting.arena.peak_bytes();
  out.tokens = counting.tokens(stage, stage.micro_batch);
  out.batch_bytes = sample_bytes(stage) * stage.micro_batch;
  counting.add_process(out, sums_on_host(config));
  // A forward is a third of the model FLOPs of a step.
  const MeshShape& mesh = config.parallel.mesh;
  const double share = static_cast<double>(stage.micro_batch) / static_cast<double>(stage.batch);
  out.model_flops =
      ModelFlops(config.model).of_step(stage) / 3 * share / (mesh.context_parallel * mesh.tensor_parallel);
  return out;
}

}  // namespace

int64_t process_bytes(const StepEstimate& estimate) {
  return estimate.memory.total() + estimate.batch_bytes + estimate.message_bytes + estimate.program_bytes;
}

StepEstimate estimate_step(const Config& config, const Stage& stage, int rank, Purpose purpose) {
  return purpose == Purpose::kTraining ? estimate_training(config, stage, rank)
                                       : estimate_inference(config, stage, rank);
}

StepEstimate estimate_run(const Config& config, int rank, Purpose purpose, int64_t steps_done) {
  const std::vector<Stage>& stages = config.training.stages;
  const size_t now = stage_at(config.training, steps_done);
  StepEstimate most;
  const size_t end = purpose == Purpose::kTraining ? stages.size() : now + 1;
  for (size_t i = now; i < end; ++i) {
    if (!fits(stages[i], config.parallel.mesh)) continue;
    StepEstimate estimate = estimate_step(config, stages[i], rank, purpose);
    if (estimate.memory.arena() > most.memory.arena()) most = std::move(estimate);
  }
  return most;
}

}  // namespace ropewalk
