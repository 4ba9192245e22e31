#include "trainer/model/model.h"

namespace ropewalk {

Model::Model(const ModelConfig& config, const ParameterTable& table, Rank rank, TensorRegion region, int64_t loss_chunk)
    : embedding_(table, rank, region), head_(config, table, rank, region, loss_chunk) {
  for (size_t layer = 0; layer < config.layers.size(); ++layer)
    blocks_.push_back(std::make_unique<Block>(config, config.layers[layer], table.block(layer), rank, region));
}

Tensor Model::forward(const ParameterValues& weights, const Sequences& sequences, Activations& saved) const {
  saved.blocks.resize(blocks_.size());
  Tensor x = embedding_.forward(weights, sequences);
  for (size_t layer = 0; layer < blocks_.size(); ++layer)
    x = blocks_[layer]->forward(weights, sequences, x, saved.blocks[layer]);
  return x;
}

void Model::backward(const ParameterValues& weights, const Sequences& sequences, Activations& saved,
                     const ParameterValues& gradients) const {
  Tensor dx = head_.backward(weights, saved.loss, gradients);
  for (size_t layer = blocks_.size(); layer-- > 0;)
    dx = blocks_[layer]->backward(weights, sequences, saved.blocks[layer], dx, gradients);
  embedding_.backward(sequences, dx, gradients);
}

}  // namespace ropewalk
