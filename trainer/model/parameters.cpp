#include "trainer/model/parameters.h"

#include <algorithm>

namespace ropewalk {
namespace {

// Builds the table entry by entry, in the order in which a forward pass uses the parameters.
class TableBuilder {
 public:
  TableBuilder(const ModelConfig& model, const MeshShape& mesh, int tensor_rank, bool token_split)
      : model_(model), tensor_ranks_(mesh.tensor_parallel), rank_(tensor_rank), token_split_(token_split) {
    const int64_t heads = model.key_heads, ranks = tensor_ranks_;
    CHECK(model.query_heads % ranks == 0, "{} query heads over {} tensor ranks", model.query_heads, ranks);
    CHECK(heads % ranks == 0 || ranks % heads == 0, "{} key heads over {} tensor ranks", heads, ranks);
    key_replicas_ = std::max<int64_t>(1, ranks / heads);
  }

  // The weight [D] of a norm over the model's width: complete on every tensor rank.
  int norm(const std::string& name) {
    return push({.name = name,
                 .shape = {model_.width},
                 .box = {0, 1, 0, model_.width},
                 .is_matrix = false,
                 .gradient_sum = token_split_ ? GradientSum::kTensor : GradientSum::kNone,
                 .is_primary_replica = rank_ == 0});
  }
  // A matrix [rows, columns], split over the tensor group by rows or by columns.
  int split_rows(const std::string& name, int64_t rows, int64_t columns) {
    const Partition cut = Partition::even(rows, tensor_ranks_);
    return push({.name = name, .shape = {rows, columns}, .box = {cut.begin(rank_), cut.end(rank_), 0, columns}});
  }
  int split_columns(const std::string& name, int64_t rows, int64_t columns) {
    const Partition cut = Partition::even(columns, tensor_ranks_);
    return push({.name = name, .shape = {rows, columns}, .box = {0, rows, cut.begin(rank_), cut.end(rank_)}});
  }
  // `unit` rows for each query head, or for each KV head. A head is never split; if there are more ranks than KV heads,
  // consecutive ranks hold the same KV head. is_matrix: false for the weights of a norm over each head.
  int query_heads(const std::string& name, int64_t unit, int64_t columns, bool is_matrix) {
    const int index = split_rows(name, model_.query_heads * unit, columns);
    table_[static_cast<size_t>(index)].is_matrix = is_matrix;
    return index;
  }
  int key_heads(const std::string& name, int64_t unit, int64_t columns, bool is_matrix) {
    const Partition cut = Partition::even(model_.key_heads, static_cast<int>(tensor_ranks_ / key_replicas_));
    const int owner = static_cast<int>(rank_ / key_replicas_);
    return push({.name = name,
                 .shape = {model_.key_heads * unit, columns},
                 .box = {cut.begin(owner) * unit, cut.end(owner) * unit, 0, columns},
                 .is_matrix = is_matrix,
                 .gradient_sum = key_replicas_ > 1 ? GradientSum::kKeyReplicas : GradientSum::kNone,
                 .is_primary_replica = rank_ % key_replicas_ == 0});
  }

  int size() const { return static_cast<int>(table_.size()); }
  std::vector<Parameter> take() { return std::move(table_); }

 private:
  int push(Parameter parameter) {
    table_.push_back(std::move(parameter));
    return size() - 1;
  }

  const ModelConfig& model_;
  int tensor_ranks_, rank_;
  bool token_split_;
  int64_t key_replicas_;
  std::vector<Parameter> table_;
};

}  // namespace

ParameterTable::ParameterTable(const ModelConfig& model, const MeshShape& mesh, int tensor_rank, bool token_split,
                               int64_t bucket_parameters) {
  TableBuilder build(model, mesh, tensor_rank, token_split);
  const int64_t D = model.width, F = model.hidden, K = model.head_size, HK = model.query_heads * K;
  std::vector<int> ends;  // of each unit: the index after its last parameter
  embedding_ = build.split_rows("model.embed_tokens.weight", model.vocabulary, D);
  for (size_t layer = 0; layer < model.layers.size(); ++layer) {
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    BlockParameters block;
    ends.push_back(build.size());
    block.norm = build.norm(prefix + "input_layernorm.weight");
    block.q = build.query_heads(prefix + "self_attn.q_proj.weight", K, D, true);
    block.k = build.key_heads(prefix + "self_attn.k_proj.weight", K, D, true);
    block.v = build.key_heads(prefix + "self_attn.v_proj.weight", K, D, true);
    if (model.layers[layer].qk_norm == LayerKind::QkNorm::kLayerNorm) {
      block.q_norm = build.query_heads(prefix + "self_attn.q_norm.weight", 1, K, false);
      block.k_norm = build.key_heads(prefix + "self_attn.k_norm.weight", 1, K, false);
    }
    block.o = build.split_columns(prefix + "self_attn.o_proj.weight", D, HK);
    block.gate = build.split_rows(prefix + "mlp.gate_proj.weight", F, D);
    block.up = build.split_rows(prefix + "mlp.up_proj.weight", F, D);
    block.down = build.split_columns(prefix + "mlp.down_proj.weight", D, F);
    blocks_.push_back(block);
  }
  final_norm_ = build.norm("model.norm.weight");
  ends.push_back(build.size());
  parameters_ = build.take();

  std::vector<std::vector<int64_t>> sizes;
  for (int index = 0; const int end : ends) {
    sizes.emplace_back();
    for (; index < end; ++index) sizes.back().push_back((*this)[index].box.elements());
  }
  shards_.emplace(sizes, mesh.data_parallel * mesh.context_parallel, bucket_parameters);
  for (int index = 0; index < static_cast<int>(parameters_.size()); ++index)
    parameters_[static_cast<size_t>(index)].offset = shards_->offset(index);
}

ParameterValues::ParameterValues(const ParameterTable& table, DType dtype, Kernels& kernels)
    : table_(table),
      buffer_(kernels.allocate(table.shards().elements() * size_of(dtype))),
      flat_(buffer_->data(), dtype, kernels.device(), {table.shards().elements()}) {
  for (const ShardBucket& bucket : table.shards().buckets())
    if (bucket.filled_end < bucket.end) kernels.fill(flat_.slice(bucket.filled_end, bucket.end), 0);
}

Tensor ParameterValues::operator[](int index) const {
  const Parameter& p = table_[index];
  return flat_.slice(p.offset, p.offset + p.box.elements()).reshape({p.box.rows(), p.box.columns()});
}

std::vector<StateTensor> ParameterValues::state() const {
  std::vector<StateTensor> out;
  for (int index = 0; index < static_cast<int>(table_.all().size()); ++index) {
    const Parameter& p = table_[index];
    out.push_back({p.name, p.shape, p.box, (*this)[index], p.is_primary_replica});
  }
  return out;
}

}  // namespace ropewalk
