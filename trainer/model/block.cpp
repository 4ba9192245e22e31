#include "trainer/model/block.h"

namespace ropewalk {
namespace {

// A view of x [N, h, K] as a matrix [N, h * K].
Tensor matrix(const Tensor& x) { return x.reshape({x.rows(), x.extent(1) * x.extent(2)}); }

Tensor keys(const Tensor& kv) { return kv.slice(0, 1).reshape({kv.extent(1), kv.extent(2), kv.extent(3)}); }
Tensor values(const Tensor& kv) { return kv.slice(1, 2).reshape({kv.extent(1), kv.extent(2), kv.extent(3)}); }

}  // namespace

Block::Block(const ModelConfig& model, const LayerKind& kind, const BlockParameters& parameters, Rank rank,
             TensorRegion region)
    : model_(model), kind_(kind), at_(parameters), rank_(rank), region_(region) {
  attention_ = kind.mask == LayerKind::Mask::kSliding
                   ? make_halo_attention(rank.kernels, rank.mesh.sequence(), kind.window)
                   : make_ring_attention(rank.kernels, rank.mesh.sequence());
}

void Block::allocate_attention(const ParameterValues& weights, int64_t rows, BlockActivations& saved) const {
  const DType accumulator = accumulator_of(rank_.kernels.dtype());
  const int64_t K = model_.head_size, heads = weights[at_.q].rows() / K;
  saved.o = rank_.arena.allocate(rank_.kernels.dtype(), {rows, heads, K});
  saved.lse = rank_.arena.allocate(accumulator, {rows, heads});
}

void Block::project_inputs(const ParameterValues& weights, const Runs& runs, BlockActivations& saved) const {
  Kernels& k = rank_.kernels;
  Arena& arena = rank_.arena;
  const DType type = k.dtype(), accumulator = accumulator_of(type);
  const int64_t rows = saved.o.rows(), hidden = weights[at_.gate].rows();
  const Tensor& x = saved.x;
  saved.mean = arena.allocate(accumulator, {x.rows()});
  saved.rstd = arena.allocate(accumulator, {x.rows()});
  saved.n = arena.allocate(type, {rows, model_.width});
  k.layer_norm_forward(x, weights[at_.norm], model_.norm_epsilon, region_.outside(saved.n), saved.mean, saved.rstd);
  region_.enter(saved.n);

  attention_inputs(weights, runs, saved);
  saved.gate = arena.allocate(type, {rows, hidden});
  saved.up = arena.allocate(type, {rows, hidden});
  k.linear_forward(saved.n, weights[at_.gate], saved.gate, Write::kSet);
  k.linear_forward(saved.n, weights[at_.up], saved.up, Write::kSet);
}

// Attention merges blocks of keys in the accumulator type; saved.o is the result in the compute type, which W_o reads.
void Block::attend(const Sequences& sequences, BlockActivations& saved) const {
  const DType accumulator = saved.lse.dtype();
  ArenaScope scratch(rank_.arena);
  const bool kept = saved.o.dtype() == accumulator;
  const Tensor o = kept ? saved.o : rank_.arena.allocate(accumulator, saved.o.shape());
  attention_->forward(saved.q, saved.kv, sequences, o, saved.lse, rank_.arena);
  if (!kept) rank_.kernels.cast(o, saved.o);
}

void Block::forward(const ParameterValues& weights, const Sequences& sequences, const Tensor& x, const Tensor& y,
                    BlockActivations& saved) const {
  saved.x = x;
  if (saved.o.empty()) allocate_attention(weights, sequences.count * sequences.local_length, saved);
  project_inputs(weights, runs_of(sequences), saved);
  attend(sequences, saved);
  project_outputs(weights, saved, y);
}

void Block::decode(const ParameterValues& weights, size_t layer, std::span<const NewToken> tokens, KeyValueCache& cache,
                   const Tensor& x, const Tensor& y) const {
  BlockActivations now;
  now.x = x;
  Runs runs;
  for (const NewToken& token : tokens) runs.emplace_back(std::ssize(runs), 1, token.position);
  allocate_attention(weights, std::ssize(tokens), now);
  project_inputs(weights, runs, now);
  cache.attend(layer, tokens, now.q, now.kv, now.o);
  project_outputs(weights, now, y);
}

void Block::project_outputs(const ParameterValues& weights, const BlockActivations& saved, const Tensor& y) const {
  Kernels& k = rank_.kernels;
  Arena& arena = rank_.arena;
  ArenaScope scratch(arena);
  const Tensor h = arena.allocate(k.dtype(), saved.gate.shape());
  const Tensor sum = arena.allocate(k.dtype(), {saved.n.rows(), model_.width});
  k.swiglu_forward(saved.gate, saved.up, h);
  k.linear_forward(matrix(saved.o), weights[at_.o], sum, Write::kSet);
  k.linear_forward(h, weights[at_.down], sum, Write::kAdd);
  k.add(saved.x, region_.leave(sum, arena), y);
}

void Block::recompute(const ParameterValues& weights, const Sequences& sequences, BlockActivations& saved) const {
  const bool attention_kept = !saved.o.empty();
  if (!attention_kept) allocate_attention(weights, sequences.count * sequences.local_length, saved);
  project_inputs(weights, runs_of(sequences), saved);
  if (!attention_kept) attend(sequences, saved);
}

void Block::backward(const ParameterValues& weights, const Sequences& sequences, const BlockActivations& saved,
                     const Tensor& dx, const ParameterValues& gradients, Write write) const {
  Kernels& k = rank_.kernels;
  Arena& arena = rank_.arena;
  const DType type = k.dtype(), accumulator = accumulator_of(type);
  const int64_t rows = sequences.count * sequences.local_length, D = model_.width;
  const Shape& heads = saved.o.shape();

  ArenaScope scratch(arena);
  const Tensor& dy = dx;  // dx holds dy until the last line
  const Tensor dsum = region_.leave_backward(dy, rows, arena);
  const Tensor dn = arena.allocate(type, {rows, D});

  {  // dn = the MLP's part
    ArenaScope mlp(arena);
    const Tensor h = arena.allocate(type, saved.gate.shape());
    k.swiglu_forward(saved.gate, saved.up, h);  // cheaper to recompute than to save
    k.linear_backward_weight(dsum, h, gradients[at_.down], write);
    const Tensor &dh = h, &dgate = saved.gate, &dup = saved.up;  // each overwrites a tensor that is no longer needed
    k.linear_backward_input(dsum, weights[at_.down], dh, Write::kSet);
    k.swiglu_backward(dh, saved.gate, saved.up, dgate, dup);
    k.linear_backward_weight(dgate, saved.n, gradients[at_.gate], write);
    k.linear_backward_weight(dup, saved.n, gradients[at_.up], write);
    k.linear_backward_input(dgate, weights[at_.gate], dn, Write::kSet);
    k.linear_backward_input(dup, weights[at_.up], dn, Write::kAdd);
  }
  {  // dn += attention's part
    ArenaScope attention(arena);
    const Tensor d_o = arena.allocate(type, heads), dq = arena.allocate(accumulator, heads);
    const Tensor dkv = arena.allocate(accumulator, saved.kv.shape());
    k.linear_backward_weight(dsum, matrix(saved.o), gradients[at_.o], write);
    k.linear_backward_input(dsum, weights[at_.o], matrix(d_o), Write::kSet);
    attention_->backward(saved.q, saved.kv, sequences, saved.o, saved.lse, d_o, dq, dkv, arena);
    attention_inputs_backward(weights, sequences, saved, dq, dkv, dn, gradients, write);
  }
  const Tensor dn_here = region_.enter_backward(dn, arena);
  k.layer_norm_backward(dn_here, saved.x, weights[at_.norm], saved.mean, saved.rstd, /*through=*/dy, dx,
                        gradients[at_.norm], write);
}

// q, k, v = W n; then QK-Norm and RoPE, if the layer has them.
void Block::attention_inputs(const ParameterValues& weights, const Runs& runs, BlockActivations& saved) const {
  Kernels& k = rank_.kernels;
  Arena& arena = rank_.arena;
  const DType type = k.dtype(), accumulator = accumulator_of(type);
  const int64_t rows = saved.n.rows(), K = model_.head_size;
  const int64_t heads = weights[at_.q].rows() / K, key_heads = weights[at_.k].rows() / K;

  saved.q = arena.allocate(type, {rows, heads, K});
  saved.kv = arena.allocate(type, {2, rows, key_heads, K});
  const bool normed = kind_.qk_norm == LayerKind::QkNorm::kLayerNorm;
  if (normed) {
    saved.q_raw = arena.allocate(type, saved.q.shape());
    saved.k_raw = arena.allocate(type, {rows, key_heads, K});
  }
  const Tensor q = normed ? saved.q_raw : saved.q, key = normed ? saved.k_raw : keys(saved.kv);
  k.linear_forward(saved.n, weights[at_.q], matrix(q), Write::kSet);
  k.linear_forward(saved.n, weights[at_.k], matrix(key), Write::kSet);
  k.linear_forward(saved.n, weights[at_.v], matrix(values(saved.kv)), Write::kSet);
  if (normed) {
    saved.q_mean = arena.allocate(accumulator, {rows * heads});
    saved.q_rstd = arena.allocate(accumulator, {rows * heads});
    saved.k_mean = arena.allocate(accumulator, {rows * key_heads});
    saved.k_rstd = arena.allocate(accumulator, {rows * key_heads});
    k.layer_norm_forward(q.reshape({rows * heads, K}), weights[at_.q_norm], model_.norm_epsilon,
                         saved.q.reshape({rows * heads, K}), saved.q_mean, saved.q_rstd);
    k.layer_norm_forward(key.reshape({rows * key_heads, K}), weights[at_.k_norm], model_.norm_epsilon,
                         keys(saved.kv).reshape({rows * key_heads, K}), saved.k_mean, saved.k_rstd);
  }
  rotate(saved.q, runs, Rotation::kForward);
  rotate(keys(saved.kv), runs, Rotation::kForward);
}

void Block::attention_inputs_backward(const ParameterValues& weights, const Sequences& sequences,
                                      const BlockActivations& saved, const Tensor& dq, const Tensor& dkv,
                                      const Tensor& dn, const ParameterValues& gradients, Write write) const {
  Kernels& k = rank_.kernels;
  const int64_t K = model_.head_size;
  const Runs runs = runs_of(sequences);
  rotate(dq, runs, Rotation::kBackward);
  rotate(keys(dkv), runs, Rotation::kBackward);
  const Tensor q = in_compute_type(dq), key = in_compute_type(keys(dkv)), value = in_compute_type(values(dkv));
  if (kind_.qk_norm == LayerKind::QkNorm::kLayerNorm) {
    const int64_t n_q = q.elements() / K, n_k = key.elements() / K;
    const Tensor q_heads = q.reshape({n_q, K}), k_heads = key.reshape({n_k, K});
    k.layer_norm_backward(q_heads, saved.q_raw.reshape({n_q, K}), weights[at_.q_norm], saved.q_mean, saved.q_rstd,
                          Tensor(), q_heads, gradients[at_.q_norm], write);
    k.layer_norm_backward(k_heads, saved.k_raw.reshape({n_k, K}), weights[at_.k_norm], saved.k_mean, saved.k_rstd,
                          Tensor(), k_heads, gradients[at_.k_norm], write);
  }
  const auto project_back = [&](const Tensor& d, int parameter) {
    k.linear_backward_weight(matrix(d), saved.n, gradients[parameter], write);
    k.linear_backward_input(matrix(d), weights[parameter], dn, Write::kAdd);
  };
  project_back(q, at_.q);
  project_back(key, at_.k);
  project_back(value, at_.v);
}

// Rotates each piece of each sequence by its global positions; does nothing in a layer without RoPE.
void Block::rotate(const Tensor& heads, const Runs& runs, Rotation direction) const {
  if (kind_.position != LayerKind::Position::kRope) return;
  for (const LocalRows& run : runs)
    rank_.kernels.rotate(heads.slice(run.local, run.local + run.count), run.positions.begin, theta_, direction);
}

Block::Runs Block::runs_of(const Sequences& sequences) const {
  Runs runs;
  for (int64_t b = 0; b < sequences.count; ++b)
    for (const Piece& piece : sequences.layout->pieces(rank_.mesh.context_rank()))
      runs.push_back(shifted(piece, b * sequences.local_length));
  return runs;
}

Tensor Block::in_compute_type(const Tensor& x) const {
  if (x.dtype() == rank_.kernels.dtype()) return x;
  const Tensor out = rank_.arena.allocate(rank_.kernels.dtype(), x.shape());
  rank_.kernels.cast(x, out);
  return out;
}

}  // namespace ropewalk
