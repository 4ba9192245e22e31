#include "trainer/model/model.h"

namespace ropewalk {

Model::Model(const ModelConfig& config, const ParameterTable& table, Rank rank, TensorRegion region, int64_t loss_chunk,
             Recompute recompute)
    : rank_(rank),
      recompute_(recompute),
      embedding_(table, rank, region),
      head_(config, table, rank, region, loss_chunk) {
  for (size_t layer = 0; layer < config.layers.size(); ++layer)
    blocks_.push_back(std::make_unique<Block>(config, config.layers[layer], table.block(layer), rank, region));
}

void Model::set_theta(std::optional<double> theta) {
  for (const auto& block : blocks_) block->set_theta(theta);
}

Tensor Model::forward(const ParameterValues& weights, const Sequences& sequences, Activations& saved,
                      ParameterSync* sync) const {
  saved.blocks.resize(blocks_.size());
  if (sync) sync->before_forward(ParameterTable::kEmbeddingUnit);
  Tensor x = embedding_.forward(weights, sequences.tokens);
  for (size_t layer = 0; layer < blocks_.size(); ++layer) {
    const Trace::Scope phase(rank_.trace, fmt::format("block {} forward", layer), "phase");
    if (sync) sync->before_forward(ParameterTable::unit_of_block(layer));
    const Block& block = *blocks_[layer];
    BlockActivations& kept = saved.blocks[layer];
    const Tensor y = rank_.arena.allocate(x.dtype(), x.shape());
    if (recompute_ == Recompute::kNothing) {
      block.forward(weights, sequences, x, y, kept);
    } else {
      kept.x = x;
      if (recompute_ == Recompute::kBlockButAttention && block.is_full())
        block.allocate_attention(weights, sequences.count * sequences.local_length, kept);
      ArenaScope not_kept(rank_.arena);
      BlockActivations all = kept;
      block.forward(weights, sequences, x, y, all);
    }
    x = y;
  }
  return x;
}

template <typename Pass>
Tensor Model::through_blocks(Tensor x, ParameterSync* sync, const Pass& pass) const {
  Tensor y = rank_.arena.allocate(x.dtype(), x.shape());
  for (size_t layer = 0; layer < blocks_.size(); ++layer) {
    if (sync) sync->before_forward(ParameterTable::unit_of_block(layer));
    ArenaScope not_kept(rank_.arena);
    pass(layer, x, y);
    std::swap(x, y);
  }
  return x;
}

Tensor Model::infer(const ParameterValues& weights, const Sequences& sequences, ParameterSync* sync,
                    const KeyValueSink& sink) const {
  if (sync) sync->before_forward(ParameterTable::kEmbeddingUnit);
  return through_blocks(embedding_.forward(weights, sequences.tokens), sync,
                        [&](size_t layer, const Tensor& x, const Tensor& y) {
                          BlockActivations all;
                          blocks_[layer]->forward(weights, sequences, x, y, all);
                          if (sink) sink(layer, all.kv);
                        });
}

Tensor Model::decode(const ParameterValues& weights, std::span<const NewToken> tokens, KeyValueCache& cache,
                     ParameterSync* sync) const {
  std::vector<int32_t> ids;
  for (const NewToken& token : tokens) ids.push_back(token.token);
  const Tensor ids_here = rank_.arena.allocate(DType::kI32, {std::ssize(ids)});
  rank_.kernels.upload(ids.data(), ids_here);
  if (sync) sync->before_forward(ParameterTable::kEmbeddingUnit);
  return through_blocks(embedding_.forward(weights, ids_here), sync,
                        [&](size_t layer, const Tensor& x, const Tensor& y) {
                          blocks_[layer]->decode(weights, layer, tokens, cache, x, y);
                        });
}

void Model::backward(const ParameterValues& weights, const Sequences& sequences, Activations& saved,
                     const ParameterValues& gradients, Write write, ParameterSync* sync) const {
  const Tensor dx = head_.backward(weights, saved.loss, gradients, write);
  for (size_t layer = blocks_.size(); layer-- > 0;) {
    const Trace::Scope phase(rank_.trace, fmt::format("block {} backward", layer), "phase");
    ArenaScope scratch(rank_.arena);
    if (recompute_ != Recompute::kNothing) blocks_[layer]->recompute(weights, sequences, saved.blocks[layer]);
    blocks_[layer]->backward(weights, sequences, saved.blocks[layer], dx, gradients, write);
    if (sync) sync->after_backward(ParameterTable::unit_of_block(layer));
  }
  embedding_.backward(sequences.tokens, dx, gradients);
  if (sync) sync->after_backward(ParameterTable::kEmbeddingUnit);
}

}  // namespace ropewalk
