#include "trainer/model/key_value_cache.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/range.h"
#include "parallel/partition.h"
#include "trainer/model/host_numbers.h"

namespace ropewalk {
namespace {

// Rows of a slot of one layer on each context rank. Full: a prompt of n tokens leaves at most 2 ceil(n / 2P) rows on a
// rank, and the others at most ceil((L - n) / P); together less than L / P + 3.
int64_t rows_of(const LayerKind& kind, int64_t length, int context_ranks) {
  if (kind.mask == LayerKind::Mask::kSliding) return std::min(kind.window, length);
  return std::min(length, (length + context_ranks - 1) / context_ranks + 2);
}

int64_t row_elements(const ModelConfig& model, const MeshShape& mesh) {
  return model.key_heads / std::min<int64_t>(model.key_heads, mesh.tensor_parallel) * model.head_size;
}

// The positions p in [begin, end) with p mod ranks = rank.
int64_t positions_of(int rank, int ranks, int64_t begin, int64_t end) {
  const auto below = [&](int64_t limit) { return (limit - rank + ranks - 1) / ranks; };
  return below(end) - below(begin);
}

Tensor half(const Tensor& kv, int64_t index) {
  return kv.slice(index, index + 1).reshape({kv.extent(1), kv.extent(2), kv.extent(3)});
}

}  // namespace

KeyValueCache::KeyValueCache(const ModelConfig& model, Rank rank, int64_t slots, int64_t length)
    : rank_(rank), length_(length), prompt_lengths_(static_cast<size_t>(slots)) {
  const MeshShape& mesh = rank.mesh.shape();
  const DType type = rank.kernels.dtype();
  const int64_t row = row_elements(model, mesh);
  const Tensor all = rank.arena.allocate(type, {slots * bytes_per_slot(model, mesh, type, length) / size_of(type)});
  int64_t at = 0;
  for (const LayerKind& kind : model.layers) {
    const int64_t rows = rows_of(kind, length, mesh.context_parallel), elements = 2 * slots * rows * row;
    layers_.push_back(
        {kind.mask, rows,
         all.slice(at, at + elements).reshape({2 * slots, rows, row / model.head_size, model.head_size})});
    at += elements;
  }
}

int64_t KeyValueCache::bytes_per_slot(const ModelConfig& model, const MeshShape& mesh, DType type, int64_t length) {
  int64_t rows = 0;
  for (const LayerKind& kind : model.layers) rows += rows_of(kind, length, mesh.context_parallel);
  return 2 * rows * row_elements(model, mesh) * size_of(type);
}

Tensor KeyValueCache::keys(const Layer& layer, int64_t slot) const { return half(layer.kv, 2 * slot); }
Tensor KeyValueCache::values(const Layer& layer, int64_t slot) const { return half(layer.kv, 2 * slot + 1); }

void KeyValueCache::store(const Layer& layer, int64_t slot, int64_t to, const Tensor& new_keys,
                          const Tensor& new_values) {
  rank_.kernels.copy(new_keys, keys(layer, slot).slice(to, to + new_keys.rows()));
  rank_.kernels.copy(new_values, values(layer, slot).slice(to, to + new_values.rows()));
}

// ---- a prompt

void KeyValueCache::begin_prompt(int64_t slot, int64_t prompt_length) {
  CHECK(prompt_length <= length_, "a prompt of {} tokens in a cache for {}", prompt_length, length_);
  prompt_lengths_[static_cast<size_t>(slot)] = prompt_length;
}

void KeyValueCache::store_prompt(size_t index, int64_t slot, const SequenceLayout& layout, const Tensor& kv) {
  const Layer& layer = layers_[index];
  if (layer.mask == LayerKind::Mask::kSliding) return store_window(layer, slot, layout, kv);
  store(layer, slot, 0, half(kv, 0), half(kv, 1));
}

// The last rows of the prompt. They are the last rows of each rank that has some of them, because the rows of a rank
// are in order of position.
void KeyValueCache::store_window(const Layer& layer, int64_t slot, const SequenceLayout& layout, const Tensor& kv) {
  ArenaScope scratch(rank_.arena);
  const int64_t first = std::max<int64_t>(0, layout.length() - layer.rows);
  std::vector<int64_t> wanted;  // rows of each rank
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    wanted.push_back(0);
    for (const Piece& piece : layout.pieces(rank))
      wanted.back() += std::max<int64_t>(0, piece.end - std::max(piece.begin, first));
  }
  const Partition rows = Partition::of_sizes(wanted);
  const auto gathered = [&](const Tensor& mine) {
    const Tensor all = rank_.arena.allocate(mine.dtype(), {rows.total(), mine.extent(1), mine.extent(2)});
    rank_.mesh.sequence().all_gather(mine.slice(mine.rows() - rows.size(rank_.mesh.context_rank()), mine.rows()), rows,
                                     all);
    return all;
  };
  const Tensor all_keys = gathered(half(kv, 0)), all_values = gathered(half(kv, 1));
  int64_t from = 0;
  for (int rank = 0; rank < layout.ranks(); ++rank)
    for (const Piece& piece : layout.pieces(rank))
      for (int64_t position = std::max(piece.begin, first), end; position < piece.end; position = end) {
        end = std::min(piece.end, round_up(position + 1, layer.rows));  // where the slot's rows begin again
        const int64_t count = end - position;
        store(layer, slot, position % layer.rows, all_keys.slice(from, from + count),
              all_values.slice(from, from + count));
        from += count;
      }
}

// ---- new tokens

void KeyValueCache::store_token(const Layer& layer, const NewToken& token, const Tensor& new_keys,
                                const Tensor& new_values) {
  CHECK(token.position < length_, "a token at position {} in a cache for {}", token.position, length_);
  if (layer.mask == LayerKind::Mask::kSliding)
    return store(layer, token.slot, token.position % layer.rows, new_keys, new_values);
  if (token.position % rank_.mesh.sequence().size() == rank_.mesh.context_rank())
    store(layer, token.slot, rows_held(layer, token.slot, token.position), new_keys, new_values);
}

// The rows of the slot that this rank has of the first `length` tokens.
int64_t KeyValueCache::rows_held(const Layer& layer, int64_t slot, int64_t length) const {
  if (layer.mask == LayerKind::Mask::kSliding) return std::min(layer.rows, length);
  const int rank = rank_.mesh.context_rank(), ranks = rank_.mesh.sequence().size();
  const int64_t prompt = prompt_lengths_[static_cast<size_t>(slot)];
  return SequenceLayout(prompt, ranks).local_length(rank) + positions_of(rank, ranks, prompt, length);
}

void KeyValueCache::attend(size_t index, std::span<const NewToken> tokens, const Tensor& q, const Tensor& kv,
                           const Tensor& o) {
  const Layer& layer = layers_[index];
  Kernels& k = rank_.kernels;
  Communicator& group = rank_.mesh.sequence();
  const DType accumulator = accumulator_of(k.dtype());
  const bool split = layer.mask == LayerKind::Mask::kFull && group.size() > 1;
  const int parts = split ? group.size() : 1, mine = split ? group.rank() : 0;
  const int64_t B = q.rows(), H = q.extent(1), K = q.extent(2);

  ArenaScope scratch(rank_.arena);
  const Tensor all_o = rank_.arena.allocate(accumulator, {parts, B, H, K});
  const Tensor all_lse = rank_.arena.allocate(accumulator, {parts, B, H});
  const Tensor my_o = half(all_o, mine), my_lse = all_lse.slice(mine, mine + 1).reshape({B, H});
  k.fill(my_lse, -std::numeric_limits<double>::infinity());
  for (int64_t b = 0; b < B; ++b) {
    const NewToken& token = tokens[static_cast<size_t>(b)];
    store_token(layer, token, half(kv, 0).slice(b, b + 1), half(kv, 1).slice(b, b + 1));
    const int64_t rows = rows_held(layer, token.slot, token.position + 1);
    if (rows == 0) continue;
    const AttentionSpan all_rows{.queries = rows - 1,
                                 .keys = 0,
                                 .window = layer.mask == LayerKind::Mask::kSliding ? std::optional(rows) : std::nullopt,
                                 .document_begin = {}};
    k.attention_forward(q.slice(b, b + 1), keys(layer, token.slot).slice(0, rows),
                        values(layer, token.slot).slice(0, rows), all_rows, my_o.slice(b, b + 1),
                        my_lse.slice(b, b + 1));
  }
  if (!split) return k.cast(my_o, o);
  const Partition by_rank = Partition::even(parts, parts);
  group.all_gather(all_o.slice(mine, mine + 1), by_rank, all_o);
  group.all_gather(all_lse.slice(mine, mine + 1), by_rank, all_lse);
  merge(all_o, all_lse, o);
}

// o = sum_r w_r o_r with w_r = exp(lse_r) / sum_r exp(lse_r), in fp64 on the host and in the order of the ranks: the
// same bits on each. parts [P, B, H, K], lse_of_parts [P, B, H]. A rank without rows has lse = -infinity and no o.
void KeyValueCache::merge(const Tensor& parts, const Tensor& lse_of_parts, const Tensor& o) {
  const std::vector<double> of_ranks = to_host(parts, rank_.kernels, rank_.arena),
                            lse = to_host(lse_of_parts, rank_.kernels, rank_.arena);
  const auto heads = static_cast<size_t>(o.extent(0) * o.extent(1)), K = static_cast<size_t>(o.extent(2));
  std::vector<double> merged(of_ranks.empty() ? 0 : heads * K);
  for (size_t head = 0; head < heads && !merged.empty(); ++head) {
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (size_t at = head; at < lse.size(); at += heads) largest = std::max(largest, lse[at]);
    for (size_t at = head; at < lse.size(); at += heads) {
      const double weight = std::exp(lse[at] - largest);
      if (weight == 0) continue;
      sum += weight;
      for (size_t i = 0; i < K; ++i) merged[head * K + i] += weight * of_ranks[at * K + i];
    }
    for (size_t i = 0; i < K; ++i) merged[head * K + i] /= sum;
  }
  from_host(merged, o, rank_.kernels, rank_.arena);
}

}  // namespace ropewalk
