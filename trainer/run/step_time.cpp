#include "trainer/run/step_time.h"

#include <algorithm>

#include "kernels/make_kernels.h"
#include "trainer/model/parameters.h"

namespace ropewalk {
namespace {

using Recompute = TrainingConfig::Recompute;

double number(FlopCount count) { return static_cast<double>(count); }
double ceiling(int64_t a, int64_t b) { return static_cast<double>((a + b - 1) / b); }

// How often attention's forward runs in a step.
int forward_passes(const Config& config, LayerKind::Mask mask, Purpose purpose) {
  if (purpose == Purpose::kInference) return 1;
  const Recompute recompute = config.training.recompute;
  const bool again = recompute == Recompute::kBlock ||
                     (recompute == Recompute::kBlockButAttention && mask == LayerKind::Mask::kSliding);
  return again ? 2 : 1;
}

// The forward's share of attention's arithmetic: 4 of 4 + 10 for each visible pair.
double forward_share(const Config& config, LayerKind::Mask mask, Purpose purpose) {
  if (purpose == Purpose::kInference) return 1;
  const double forward = 4.0 * forward_passes(config, mask, purpose);
  return forward / (forward + 10);
}

// Of a sliding layer's pairs, those of a chunk with its own keys; the mean over sliding layers.
double own_pairs(const Config& config, const Stage& stage) {
  const double chunk = static_cast<double>(stage.sequence_length) / (2.0 * config.parallel.mesh.context_parallel);
  double sum = 0;
  int layers = 0;
  for (const LayerKind& layer : config.model.layers) {
    if (layer.mask != LayerKind::Mask::kSliding) continue;
    const auto window = static_cast<double>(layer.window);
    sum += window <= chunk ? 1 - window / (2 * chunk) : chunk / (2 * window);
    ++layers;
  }
  return layers > 0 ? sum / layers : 0;
}

double sequences_of_a_rank(const Config& config, const Stage& stage, Purpose purpose) {
  return purpose == Purpose::kInference ? static_cast<double>(stage.micro_batch)
                                        : static_cast<double>(stage.batch) / config.parallel.mesh.data_parallel;
}

}  // namespace

double StepTime::exposed() const {
  double sum = 0;
  for (const Part& part : communication) sum += part.exposed;
  return sum;
}

RingBytes ring_bytes(const Config& config, const Stage& stage, Purpose purpose) {
  const MeshShape& mesh = config.parallel.mesh;
  const ModelConfig& model = config.model;
  const DType type = compute_type(config.parallel.backend);
  const auto full_layers =
      static_cast<double>(std::ranges::count(model.layers, LayerKind::Mask::kFull, &LayerKind::mask));
  const double blocks = (mesh.context_parallel - 1) * ceiling(stage.sequence_length, mesh.context_parallel) *
                        sequences_of_a_rank(config, stage, purpose) * full_layers;
  const double values = 2 * ceiling(model.key_heads, mesh.tensor_parallel) * static_cast<double>(model.head_size);
  const auto of_type = [&](DType dtype) { return blocks * values * static_cast<double>(size_of(dtype)); };
  RingBytes out;
  out.forward = forward_passes(config, LayerKind::Mask::kFull, purpose) * of_type(type);
  if (purpose == Purpose::kTraining) out.backward = of_type(type) + of_type(accumulator_of(type));
  return out;
}

StepTime model_step_time(const MeshEstimate& estimate, const Config& config, const Stage& stage, Purpose purpose,
                         const DeviceModel& device, const LinkRates& links) {
  const MeshShape& mesh = config.parallel.mesh;
  const bool training = purpose == Purpose::kTraining;
  const Flops& flops = estimate.busiest.flops;
  const auto at = [&](FlopCount count, double efficiency) { return number(count) / (device.peak_flops * efficiency); };
  StepTime out;
  out.products = at(flops.products, device.efficiency.products);
  out.full_attention = at(flops.full_attention, device.efficiency.full_attention);
  out.sliding_attention = at(flops.sliding_attention, device.efficiency.sliding_attention);
  const double bandwidth = device.memory_bytes_per_second * device.efficiency.memory;
  out.memory = number(estimate.busiest.memory_traffic) / bandwidth;

  const auto add = [&](const char* name, int group_extent, double bytes, double hidden, double never_hidden = 0) {
    if (bytes <= 0) return;
    const bool inside = group_extent <= links.ranks_per_host;
    const double transfer = bytes / (inside ? links.inside : links.between);
    if (inside && !device.is_gpu) hidden = 0;
    const double free = never_hidden / bytes * transfer;
    out.communication.push_back({name, inside, transfer, free + std::max(0.0, transfer - free - hidden)});
  };
  double tensor = 0, sequence = 0, gradient = 0, others = 0;
  for (const MeshEstimate::Sent& sent : estimate.bytes_sent) {
    const auto bytes = static_cast<double>(sent.most);
    (sent.axis == "tensor"     ? tensor
     : sent.axis == "sequence" ? sequence
     : sent.axis == "gradient" ? gradient
                               : others) += bytes;
  }
  add("tensor", mesh.tensor_parallel, tensor, 0);

  const int sequence_extent = mesh.context_parallel * mesh.tensor_parallel;
  const RingBytes ring = ring_bytes(config, stage, purpose);
  const double ring_total = std::min(ring.forward + ring.backward, sequence);
  const double forward = forward_share(config, LayerKind::Mask::kFull, purpose);
  const double P = mesh.context_parallel;
  // Forward and backward hide their own bytes only.
  const auto hidden_of_ring = [&](double bytes, double by) {
    const double link = sequence_extent <= links.ranks_per_host ? links.inside : links.between;
    return std::min(bytes / link, by);
  };
  add("ring", sequence_extent, ring_total,
      hidden_of_ring(ring.forward, out.full_attention * forward * (P - 1) / P) +
          hidden_of_ring(ring.backward, out.full_attention * (1 - forward)));
  add("halo", sequence_extent, sequence - ring_total, out.sliding_attention * own_pairs(config, stage));

  if (training && gradient > 0) {
    const DType type = compute_type(config.parallel.backend);
    const ParameterTable table(config.model, mesh, 0, mesh.tensor_parallel > 1 && config.parallel.sequence_parallel,
                               config.parallel.bucket_parameters);
    const ShardPlan& shards = table.shards();
    const double first_bucket =
        static_cast<double>(shards.buckets().front().end) / static_cast<double>(shards.elements());
    const auto width = static_cast<double>(size_of(type)),
               sum_width = static_cast<double>(size_of(accumulator_of(type)));
    const double sums = gradient * sum_width / (sum_width + width), weights = gradient - sums;
    // AdamW reads w, g, m, v and writes w, m, v; and w once more, narrow, in mixed precision.
    const double adamw =
        static_cast<double>(shards.shard_elements()) * (7 * sum_width + (width < sum_width ? width : 0)) / bandwidth;
    const double passes = std::max(0.0, out.computation() - adamw) /
                          ceiling(stage.batch / mesh.data_parallel, stage.micro_batch);  // of one micro-batch
    const double forward_of_all = std::min(1.0, estimate.fullest.model_flops / 3 / number(flops.total()));
    add("gradients", mesh.size(), sums, passes * (1 - forward_of_all), sums * first_bucket);
    // The forward begins with the first bucket, which only AdamW on the others hides.
    const double others_adamw = adamw * (1 - first_bucket);
    const double link = mesh.size() <= links.ranks_per_host ? links.inside : links.between;
    add("weights", mesh.size(), weights, others_adamw + passes * forward_of_all,
        std::max(0.0, weights * first_bucket - others_adamw * link));
  }
  add("others", mesh.size(), others, 0);
  out.utilization = estimate.fullest.model_flops / (out.seconds() * device.peak_flops);
  return out;
}

}  // namespace ropewalk
