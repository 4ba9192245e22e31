#include "trainer/model/parameters.h"

#include <algorithm>

#include "kernels/arena.h"
#include "kernels/random.h"

namespace ropewalk {
namespace {

// Builds the table entry by entry, in the order in which a forward pass meets the parameters.
class TableBuilder {
 public:
  TableBuilder(const ModelConfig& model, const MeshShape& mesh, int tensor_rank, bool token_split)
      : model_(model), tensor_ranks_(mesh.tensor_parallel), rank_(tensor_rank), token_split_(token_split) {
    const int64_t heads = model.key_heads, ranks = tensor_ranks_;
    CHECK(model.query_heads % ranks == 0, "{} query heads over {} tensor ranks", model.query_heads, ranks);
    CHECK(heads % ranks == 0 || ranks % heads == 0, "{} key heads over {} tensor ranks", heads, ranks);
    key_replicas_ = std::max<int64_t>(1, ranks / heads);
  }

  // A LayerNorm's weight [D]: whole on every rank.
  int norm(const std::string& name) {
    const auto sum = token_split_ ? GradientSum::kTensor : GradientSum::kNone;
    return push({name, {model_.width}, {0, 1, 0, model_.width}, 0, true, sum, rank_ == 0});
  }
  // Rows [rows, columns] cut over the tensor group.
  int split_rows(const std::string& name, int64_t rows, int64_t columns) {
    const Partition cut = Partition::even(rows, tensor_ranks_);
    return push(
        {name, {rows, columns}, {cut.begin(rank_), cut.end(rank_), 0, columns}, 0, false, GradientSum::kNone, true});
  }
  int split_columns(const std::string& name, int64_t rows, int64_t columns) {
    const Partition cut = Partition::even(columns, tensor_ranks_);
    return push(
        {name, {rows, columns}, {0, rows, cut.begin(rank_), cut.end(rank_)}, 0, false, GradientSum::kNone, true});
  }
  // `unit` rows for each query head, or for each key head: a head never leaves its rank, and where there are more ranks
  // than key heads, several ranks in a row hold the same one.
  int query_heads(const std::string& name, int64_t unit, int64_t columns, bool is_norm) {
    const int index = split_rows(name, model_.query_heads * unit, columns);
    table_[static_cast<size_t>(index)].is_norm = is_norm;
    return index;
  }
  int key_heads(const std::string& name, int64_t unit, int64_t columns, bool is_norm) {
    const Partition cut = Partition::even(model_.key_heads, static_cast<int>(tensor_ranks_ / key_replicas_));
    const int owner = static_cast<int>(rank_ / key_replicas_);
    const bool shared = key_replicas_ > 1;
    return push({name,
                 {model_.key_heads * unit, columns},
                 {cut.begin(owner) * unit, cut.end(owner) * unit, 0, columns},
                 0,
                 is_norm,
                 shared ? GradientSum::kKeyReplicas : GradientSum::kNone,
                 rank_ % key_replicas_ == 0});
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
  std::vector<int> ends;  // of units: the table's sizes then
  embedding_ = build.split_rows("model.embed_tokens.weight", model.vocabulary, D);
  for (size_t layer = 0; layer < model.layers.size(); ++layer) {
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    BlockParameters block;
    ends.push_back(build.size());
    block.norm = build.norm(prefix + "input_layernorm.weight");
    block.q = build.query_heads(prefix + "self_attn.q_proj.weight", K, D, false);
    block.k = build.key_heads(prefix + "self_attn.k_proj.weight", K, D, false);
    block.v = build.key_heads(prefix + "self_attn.v_proj.weight", K, D, false);
    if (model.layers[layer].qk_norm == LayerKind::QkNorm::kLayerNorm) {
      block.q_norm = build.query_heads(prefix + "self_attn.q_norm.weight", 1, K, true);
      block.k_norm = build.key_heads(prefix + "self_attn.k_norm.weight", 1, K, true);
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

namespace {

constexpr int64_t kDrawnElements = 1 << 18;  // at a time: a table of a large vocabulary has gigabytes

// Rows [begin, end) of this rank's box: normal(0, deviation) as a function of the element's place in the whole tensor.
template <typename T>
void draw_normal(const Parameter& p, int64_t begin, int64_t end, const RandomStream& stream, double deviation, T* out) {
  for (int64_t row = p.box.row_begin + begin; row < p.box.row_begin + end; ++row)
    for (int64_t column = p.box.column_begin; column < p.box.column_end; ++column)
      *out++ = static_cast<T>(deviation * stream.normal(static_cast<uint64_t>(row * p.columns() + column)));
}

// Drawn as T and then rounded to the weights' type.
template <typename T>
void draw_matrix(const Parameter& p, const Tensor& weight, double deviation, uint64_t seed, Kernels& kernels,
                 Arena& arena) {
  const RandomStream stream(seed, p.name);
  const int64_t columns = p.box.columns(),
                rows_at_once = std::max<int64_t>(1, kDrawnElements / std::max<int64_t>(1, columns));
  std::vector<T> host(static_cast<size_t>(std::min(rows_at_once, weight.rows()) * columns));
  for (int64_t begin = 0; begin < weight.rows(); begin += rows_at_once) {
    ArenaScope scope(arena);
    const int64_t end = std::min(begin + rows_at_once, weight.rows());
    const Tensor rows = weight.slice(begin, end);
    const bool direct = rows.dtype() == dtype_of<T>;
    const Tensor drawn = direct ? rows : arena.allocate(dtype_of<T>, rows.shape());
    draw_normal(p, begin, end, stream, deviation, host.data());
    kernels.upload(host.data(), drawn);
    if (!direct) kernels.cast(drawn, rows);
  }
}

template <typename T>
void initialize_as(const ParameterValues& weights, double deviation, uint64_t seed, Kernels& kernels) {
  const ParameterTable& table = weights.table();
  Arena arena(kernels, kDrawnElements * size_of(dtype_of<T>));
  for (int index = 0; index < static_cast<int>(table.all().size()); ++index) {
    if (table[index].is_norm)
      kernels.fill(weights[index], 1.0);
    else
      draw_matrix<T>(table[index], weights[index], deviation, seed, kernels, arena);
  }
}

}  // namespace

void initialize(const ParameterValues& master, const ModelConfig& model, uint64_t seed, Kernels& kernels) {
  if (master.flat().dtype() == DType::kF64)
    initialize_as<double>(master, model.initializer_range, seed, kernels);
  else
    initialize_as<float>(master, model.initializer_range, seed, kernels);
}

}  // namespace ropewalk
