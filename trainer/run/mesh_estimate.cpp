#include "trainer/run/mesh_estimate.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "kernels/flops.h"
#include "parallel/attention/attention_cost.h"
#include "parallel/partition.h"

namespace ropewalk {
namespace {

// ---- attention: closed forms, for each rank of a context group

// Layers with the same attention, and how often a sequence passes through each of them in a step.
struct LayerGroup {
  std::optional<int64_t> window;
  int64_t layers = 0, forwards = 0, backwards = 0;
};

std::vector<LayerGroup> layer_groups(const Config& config, Purpose purpose) {
  using Recompute = TrainingConfig::Recompute;
  const Recompute recompute = config.training.recompute;
  std::vector<LayerGroup> groups;
  for (const LayerKind& kind : config.model.layers) {
    const bool is_full = kind.mask == LayerKind::Mask::kFull;
    LayerGroup group{.window = is_full ? std::nullopt : std::optional(kind.window), .forwards = 1};
    if (purpose == Purpose::kTraining) {
      group.backwards = 1;
      if (recompute == Recompute::kBlock || (recompute == Recompute::kBlockButAttention && !is_full))
        group.forwards = 2;
    }
    const auto known = std::ranges::find(groups, group.window, &LayerGroup::window);
    (known == groups.end() ? groups.emplace_back(group) : *known).layers += 1;
  }
  return groups;
}

// What attention adds to a rank's step.
struct AttentionTotal {
  AttentionWork work;
  std::vector<std::pair<int64_t, int64_t>> halos;  // by LayerGroup: rows of the halo, rows of returned gradients
};

class AttentionTotals {
 public:
  AttentionTotals(const Config& config, const Stage& stage, Purpose purpose)
      : layout_(stage.sequence_length, config.parallel.mesh.context_parallel), groups_(layer_groups(config, purpose)) {
    const MeshShape& mesh = config.parallel.mesh;
    const int64_t K = config.model.head_size, tensor = mesh.tensor_parallel;
    sequences_ = purpose == Purpose::kTraining ? stage.batch / mesh.data_parallel : stage.micro_batch;
    query_width_ = config.model.query_heads / tensor * K;
    const int64_t key_width = std::max<int64_t>(1, config.model.key_heads / tensor) * K;
    const DType type = compute_type(config.parallel.backend);
    row_bytes_ = 2 * key_width * size_of(type);
    gradient_row_bytes_ = 2 * key_width * size_of(accumulator_of(type));
  }

  const SequenceLayout& layout() const { return layout_; }

  AttentionTotal of(int context_rank) const {
    AttentionTotal out;
    for (const LayerGroup& group : groups_) {
      const AttentionCost cost =
          group.window ? halo_cost(layout_, context_rank, *group.window) : ring_cost(layout_, context_rank);
      const int64_t forwards = sequences_ * group.layers * group.forwards,
                    backwards = sequences_ * group.layers * group.backwards;
      const FlopCount unit = FlopCount{cost.pairs} * query_width_;  // FLOPs: 4 units forward, 10 backward
      const FlopCount flops = unit * (4 * forwards + 10 * backwards);
      const int64_t forward = cost.sent_rows * row_bytes_ * forwards;
      const int64_t backward =
          (cost.sent_rows * row_bytes_ + cost.sent_gradient_rows * gradient_row_bytes_) * backwards;
      if (group.window) {
        out.work.flops.sliding_attention += flops;
        out.work.halo += forward + backward;
      } else {
        out.work.flops.full_attention += flops;
        out.work.full_forward += unit * 4 * forwards;
        out.work.ring_forward += forward;
        out.work.ring_backward += backward;
      }
      out.halos.emplace_back(cost.halo_rows, cost.home_rows);
    }
    return out;
  }

 private:
  SequenceLayout layout_;
  std::vector<LayerGroup> groups_;
  int64_t sequences_, query_width_, row_bytes_, gradient_row_bytes_;
};

// ---- everything else: one rank of each class

// Tensor ranks with equal signatures hold equal numbers of weights and tokens.
using TensorSignature = std::vector<int64_t>;

TensorSignature signature_of(const Config& config, const Stage& stage, int64_t local_tokens, int tensor_rank) {
  const int ranks = config.parallel.mesh.tensor_parallel;
  const auto part = [&](int64_t total) { return Partition::even(total, ranks).size(tensor_rank); };
  TensorSignature signature{part(config.model.vocabulary), part(config.model.hidden)};
  if (!config.parallel.sequence_parallel) return signature;
  const int64_t samples = stage.batch / config.parallel.mesh.data_parallel;
  for (const int64_t sequences : {std::min(samples, stage.micro_batch), samples % stage.micro_batch})
    signature.push_back(part(sequences * local_tokens));
  return signature;
}

bool has_no_less(const AttentionTotal& a, const AttentionTotal& b) {
  for (size_t i = 0; i < a.halos.size(); ++i)
    if (a.halos[i].first < b.halos[i].first || a.halos[i].second < b.halos[i].second) return false;
  return true;
}

// Maps a number of tokens to the context ranks that hold so many, without ranks whose halos are all covered by those of
// another rank.
std::map<int64_t, std::vector<int>> context_classes(const SequenceLayout& layout,
                                                    const std::vector<AttentionTotal>& attention) {
  std::map<int64_t, std::vector<int>> classes;
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    std::vector<int>& fullest = classes[layout.local_length(rank)];
    const AttentionTotal& mine = attention[static_cast<size_t>(rank)];
    const auto of = [&](int other) -> const AttentionTotal& { return attention[static_cast<size_t>(other)]; };
    if (std::ranges::any_of(fullest, [&](int other) { return has_no_less(of(other), mine); })) continue;
    std::erase_if(fullest, [&](int other) { return has_no_less(mine, of(other)); });
    fullest.push_back(rank);
  }
  return classes;
}

// Estimates one rank of each class, then adds up all ranks.
class MeshCount {
 public:
  MeshCount(const Config& config, const Stage& stage, Purpose purpose)
      : config_(config), stage_(stage), purpose_(purpose), totals_(config, stage, purpose) {
    for (int context = 0; context < mesh().context_parallel; ++context) attention_.push_back(totals_.of(context));
  }

  MeshEstimate run() {
    count_classes();
    add_ranks();
    out_.busiest = estimate_step(config_, stage_, out_.busiest_rank, purpose_);
    out_.busiest_attention = attention_[static_cast<size_t>(out_.busiest_rank / mesh().tensor_parallel)].work;
    for (StepEstimate* kept : {&out_.fullest, &out_.busiest}) kept->collective_bytes.clear();  // added up by now
    return std::move(out_);
  }

 private:
  using Class = std::pair<int64_t, TensorSignature>;

  const MeshShape& mesh() const { return config_.parallel.mesh; }
  Class class_of(int64_t tokens, int tensor) const { return {tokens, signature_of(config_, stage_, tokens, tensor)}; }

  void count_classes() {
    for (const auto& [tokens, contexts] : context_classes(totals_.layout(), attention_))
      for (int tensor = 0; tensor < mesh().tensor_parallel; ++tensor) {
        if (counted_.contains(class_of(tokens, tensor))) continue;
        for (const int context : contexts) counted_.insert_or_assign(class_of(tokens, tensor), count(context, tensor));
      }
  }

  StepEstimate count(int context, int tensor) {
    const int rank = context * mesh().tensor_parallel + tensor;
    StepEstimate estimate = estimate_step(config_, stage_, rank, purpose_);
    check_attention(estimate, context);
    if (counted_.empty() || is_fuller(estimate, out_.fullest)) {
      out_.fullest = estimate;
      out_.fullest_rank = rank;
    }
    return estimate;
  }

  // Fails if the closed forms differ from the dry run: they must follow every change of the step.
  void check_attention(const StepEstimate& counted, int context) const {
    const AttentionTotal& expected = attention_[static_cast<size_t>(context)];
    CHECK(counted.flops.full_attention == expected.work.flops.full_attention &&
              counted.flops.sliding_attention == expected.work.flops.sliding_attention &&
              counted.bytes_sent[Mesh::kSequenceAxis].second == expected.work.bytes_sent(),
          "attention of context rank {} differs from its closed form", context);
  }

  void add_ranks() {
    for (const auto& [axis, bytes] : counted_.begin()->second.bytes_sent) out_.bytes_sent.push_back({axis});
    FlopCount all = 0, most = -1;
    for (int context = 0; context < mesh().context_parallel; ++context)
      for (int tensor = 0; tensor < mesh().tensor_parallel; ++tensor) {
        const StepEstimate& alike = counted_.at(class_of(totals_.layout().local_length(context), tensor));
        const AttentionTotal& attention = attention_[static_cast<size_t>(context)];
        const FlopCount flops = alike.flops.products + attention.work.flops.total();
        all += flops * mesh().data_parallel;
        if (flops > most) {
          most = flops;
          out_.busiest_rank = context * mesh().tensor_parallel + tensor;
        }
        for (int data = 0; data < mesh().data_parallel; ++data)
          add_bytes(alike, attention, (data * mesh().context_parallel + context) * mesh().tensor_parallel + tensor);
      }
    out_.mean_flops = static_cast<double>(all) / mesh().size();
  }

  void add_bytes(const StepEstimate& alike, const AttentionTotal& attention, int rank) {
    const auto places = Mesh::places(mesh(), rank, static_cast<int>(config_.model.key_heads));
    for (size_t axis = 0; axis < places.size(); ++axis) {
      int64_t bytes = alike.collective_bytes[axis][static_cast<size_t>(places[axis])];
      if (axis == Mesh::kSequenceAxis) bytes += attention.work.bytes_sent();
      MeshEstimate::Sent& sent = out_.bytes_sent[axis];
      sent.most = std::max(sent.most, bytes);
      sent.all += bytes;
    }
  }

  const Config& config_;
  const Stage& stage_;
  Purpose purpose_;
  AttentionTotals totals_;
  std::vector<AttentionTotal> attention_;  // by context rank
  std::map<Class, StepEstimate> counted_;
  MeshEstimate out_;
};

}  // namespace

bool is_fuller(const StepEstimate& a, const StepEstimate& b) {
  const auto key = [](const StepEstimate& x) {
    return std::tuple(process_bytes(x), x.tokens, x.memory.activations, x.memory.working, x.memory.weights);
  };
  return key(a) > key(b);
}

MeshEstimate estimate_mesh(const Config& config, const Stage& stage, Purpose purpose) {
  return MeshCount(config, stage, purpose).run();
}

}  // namespace ropewalk
