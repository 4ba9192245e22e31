#include "trainer/run/step_time.h"

#include <algorithm>

#include "kernels/make_kernels.h"
#include "trainer/model/parameters.h"

namespace ropewalk {
namespace {

double number(FlopCount count) { return static_cast<double>(count); }
double ceiling(int64_t a, int64_t b) { return static_cast<double>((a + b - 1) / b); }

// The fraction of sliding attention in which a chunk's queries see its own keys; the mean over sliding layers.
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

}  // namespace

double StepTime::exposed() const {
  double sum = 0;
  for (const Part& part : communication) sum += part.exposed;
  return sum;
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
  double tensor = 0, gradient = 0, others = 0;
  for (const MeshEstimate::Sent& sent : estimate.bytes_sent) {
    const auto bytes = static_cast<double>(sent.most);
    if (sent.axis == "sequence") continue;  // added below as ring and halo
    (sent.axis == "tensor" ? tensor : sent.axis == "gradient" ? gradient : others) += bytes;
  }
  add("tensor", mesh.tensor_parallel, tensor, 0);

  const int sequence_extent = mesh.context_parallel * mesh.tensor_parallel;
  const AttentionWork& attention = estimate.busiest_attention;
  const double forward = flops.full_attention > 0 ? number(attention.full_forward) / number(flops.full_attention) : 0;
  const double P = mesh.context_parallel;
  // The forward hides only bytes of the forward, the backward only bytes of the backward.
  const auto hidden_of_ring = [&](int64_t bytes, double by) {
    const double link = sequence_extent <= links.ranks_per_host ? links.inside : links.between;
    return std::min(static_cast<double>(bytes) / link, by);
  };
  add("ring", sequence_extent, static_cast<double>(attention.ring_forward + attention.ring_backward),
      hidden_of_ring(attention.ring_forward, out.full_attention * forward * (P - 1) / P) +
          hidden_of_ring(attention.ring_backward, out.full_attention * (1 - forward)));
  add("halo", sequence_extent, static_cast<double>(attention.halo), out.sliding_attention * own_pairs(config, stage));

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
    // AdamW reads w, g, m, v and writes w, m, v; in mixed precision it also writes w in the compute type.
    const double adamw =
        static_cast<double>(shards.shard_elements()) * (7 * sum_width + (width < sum_width ? width : 0)) / bandwidth;
    const double passes =
        std::max(0.0, out.computation() - adamw) /
        ceiling(stage.batch / mesh.data_parallel, stage.micro_batch);  // forward and backward of one micro-batch
    const double forward_of_all = std::min(1.0, estimate.fullest.model_flops / 3 / number(flops.total()));
    add("gradients", mesh.size(), sums, passes * (1 - forward_of_all), sums * first_bucket);
    // The forward needs the first bucket at once, so only AdamW on the other buckets hides it.
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
