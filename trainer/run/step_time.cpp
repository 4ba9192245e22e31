#include "trainer/run/step_time.h"

#include <algorithm>
#include <string_view>

#include "kernels/make_kernels.h"
#include "trainer/model/parameters.h"

namespace ropewalk {
namespace {

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

struct Link {
  bool inside;  // a host
  double rate;  // bytes/s
};

class StepTimeModel {
 public:
  StepTimeModel(const MeshEstimate& estimate, const Config& config, const Stage& stage, const DeviceModel& device,
                const LinkRates& links)
      : estimate_(estimate), config_(config), stage_(stage), device_(device), links_(links) {}

  StepTime run(Purpose purpose) {
    add_arithmetic();
    const int tensor = mesh().tensor_parallel;
    add("tensor", link_of(tensor), sent("tensor"), 0);
    const int replicas = std::max(1, tensor / static_cast<int>(config_.model.key_heads));
    add("key_replicas", link_of(replicas), sent("key_replicas"), 0);
    add_attention();
    if (purpose == Purpose::kTraining && sent("gradient") > 0) add_gradients();
    out_.utilization = estimate_.fullest.model_flops / (out_.seconds() * device_.peak_flops);
    return std::move(out_);
  }

 private:
  const MeshShape& mesh() const { return config_.parallel.mesh; }
  double bandwidth() const { return device_.memory_bytes_per_second * device_.efficiency.memory; }

  double sent(std::string_view axis) const {
    const auto found = std::ranges::find(estimate_.bytes_sent, axis, &MeshEstimate::Sent::axis);
    return found == estimate_.bytes_sent.end() ? 0 : static_cast<double>(found->most);
  }

  // The link that all groups of `extent` consecutive ranks have, the first of which starts at rank 0. A host's first
  // rank is a multiple of ranks_per_host.
  Link link_of(int extent) const {
    const bool inside = mesh().size() <= links_.ranks_per_host || links_.ranks_per_host % extent == 0;
    return {inside, inside ? links_.inside : links_.between};
  }

  // hidden: seconds of work that can hide the part. never_hidden: bytes that nothing hides.
  void add(const char* name, const Link& link, double bytes, double hidden, double never_hidden = 0) {
    if (bytes <= 0) return;
    const double transfer = bytes / link.rate, free = never_hidden / link.rate;
    if (link.inside && !device_.is_gpu) hidden = 0;
    out_.communication.push_back({name, link.inside, transfer, free + std::max(0.0, transfer - free - hidden)});
  }

  void add_arithmetic() {
    const Flops& flops = estimate_.busiest.flops;
    const Efficiency& reached = device_.efficiency;
    const auto at = [&](FlopCount count, double fraction) { return number(count) / (device_.peak_flops * fraction); };
    out_.products = at(flops.products, reached.products);
    out_.full_attention = at(flops.full_attention, reached.full_attention);
    out_.sliding_attention = at(flops.sliding_attention, reached.sliding_attention);
    out_.memory = number(estimate_.busiest.memory_traffic) / bandwidth();
  }

  void add_attention() {
    const AttentionWork& attention = estimate_.busiest_attention;
    const Link link = link_of(mesh().context_parallel * mesh().tensor_parallel);
    const FlopCount full = estimate_.busiest.flops.full_attention;
    const double forward = full > 0 ? number(attention.full_forward) / number(full) : 0;
    const double P = mesh().context_parallel;
    // The forward hides only bytes of the forward, the backward only bytes of the backward.
    const auto hidden = [&](int64_t bytes, double by) { return std::min(static_cast<double>(bytes) / link.rate, by); };
    add("ring", link, static_cast<double>(attention.ring_forward + attention.ring_backward),
        hidden(attention.ring_forward, out_.full_attention * forward * (P - 1) / P) +
            hidden(attention.ring_backward, out_.full_attention * (1 - forward)));
    add("halo", link, static_cast<double>(attention.halo), out_.sliding_attention * own_pairs(config_, stage_));
  }

  void add_gradients() {
    const ParameterTable table(config_.model, mesh(), 0,
                               mesh().tensor_parallel > 1 && config_.parallel.sequence_parallel,
                               config_.parallel.bucket_parameters);
    const ShardPlan& shards = table.shards();
    const double first_bucket =
        static_cast<double>(shards.buckets().front().end) / static_cast<double>(shards.elements());
    const DType type = compute_type(config_.parallel.backend);
    const auto width = static_cast<double>(size_of(type)),
               sum_width = static_cast<double>(size_of(accumulator_of(type)));
    const double all = sent("gradient"), sums = all * sum_width / (sum_width + width), weights = all - sums;
    // AdamW reads w, g, m, v and writes w, m, v; in mixed precision it also writes w in the compute type.
    const double adamw =
        static_cast<double>(shards.shard_elements()) * (7 * sum_width + (width < sum_width ? width : 0)) / bandwidth();
    const auto micro_batches = static_cast<double>(stage_.batch / mesh().data_parallel / stage_.micro_batch);
    const double passes = std::max(0.0, out_.computation() - adamw) / micro_batches;  // forward and backward of one
    const double forward_of_all =
        std::min(1.0, estimate_.fullest.model_flops / 3 / number(estimate_.busiest.flops.total()));
    const Link link = link_of(mesh().size());
    add("gradients", link, sums, passes * (1 - forward_of_all), sums * first_bucket);
    // The forward needs the first bucket at once, so only AdamW on the other buckets hides it.
    const double others_adamw = adamw * (1 - first_bucket);
    add("weights", link, weights, others_adamw + passes * forward_of_all,
        std::max(0.0, weights * first_bucket - others_adamw * link.rate));
  }

  const MeshEstimate& estimate_;
  const Config& config_;
  const Stage& stage_;
  const DeviceModel& device_;
  const LinkRates& links_;
  StepTime out_;
};

}  // namespace

double StepTime::exposed() const {
  double sum = 0;
  for (const Part& part : communication) sum += part.exposed;
  return sum;
}

double tokens_of(const Stage& stage, Purpose purpose, const MeshShape& mesh) {
  const int64_t sequences = purpose == Purpose::kTraining ? stage.batch : stage.micro_batch * mesh.data_parallel;
  return static_cast<double>(sequences * stage.sequence_length);
}

StepTime model_step_time(const MeshEstimate& estimate, const Config& config, const Stage& stage, Purpose purpose,
                         const DeviceModel& device, const LinkRates& links) {
  return StepTimeModel(estimate, config, stage, device, links).run(purpose);
}

}  // namespace ropewalk
