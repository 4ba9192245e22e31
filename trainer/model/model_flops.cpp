#include "trainer/model/model_flops.h"

#include <algorithm>

#include "kernels/flops.h"
#include "trainer/config/stages.h"
#include "trainer/model/parameters.h"

namespace ropewalk {
namespace {

ParameterTable whole_table(const ModelConfig& model) { return ParameterTable(model, MeshShape(), 0, false, 0); }

// Visible (query, key) pairs of a whole sequence. document_begin: of every position; empty: one document.
double visible_pairs(const LayerKind& kind, int64_t length, const Tensor& document_begin) {
  AttentionSpan span;
  span.document_begin = document_begin;
  if (kind.mask == LayerKind::Mask::kSliding) span.window = kind.window;
  return static_cast<double>(visible_pairs(length, length, span));
}

}  // namespace

int64_t parameter_count(const ModelConfig& model) {
  const ParameterTable table = whole_table(model);
  int64_t count = 0;
  for (const Parameter& parameter : table.all()) count += parameter.box.elements();
  return count;
}

int64_t matrix_elements(const ModelConfig& model) {
  const ParameterTable table = whole_table(model);
  int64_t count = 0;
  for (const Parameter& parameter : table.all())
    if (parameter.is_matrix) count += parameter.box.elements();
  return count;
}

ModelFlops::ModelFlops(const ModelConfig& model)
    : model_(model),
      head_elements_(static_cast<double>(model.vocabulary * model.width)),
      block_elements_(static_cast<double>(matrix_elements(model)) - head_elements_) {}

double ModelFlops::of(double tokens, double targets, double pairs) const {
  return 6 * (block_elements_ * tokens + head_elements_ * targets) +
         12 * static_cast<double>(model_.query_heads * model_.head_size) * pairs;
}

double ModelFlops::of_batch(const Batch& batch) const {
  const std::vector<LayerKind>& layers = model_.layers;
  const auto targets = static_cast<double>(batch.target_count());
  double tokens = 0, pairs = 0;
  for (const Sample& sample : batch.samples) {
    const auto length = static_cast<int64_t>(sample.tokens.size());
    const Tensor document_begin(const_cast<int32_t*>(sample.document_begin.data()), DType::kI32, Device{}, {length});
    tokens += static_cast<double>(length);
    for (size_t layer = 0; layer < layers.size(); ++layer) {
      const auto first = std::find(layers.begin(), layers.end(), layers[layer]);
      if (first != layers.begin() + static_cast<std::ptrdiff_t>(layer))
        continue;  // was counted with the first layer of its kind
      const auto alike = std::count(layers.begin(), layers.end(), layers[layer]);
      pairs += static_cast<double>(alike) * visible_pairs(layers[layer], length, document_begin);
    }
  }
  return of(tokens, targets, pairs);
}

double ModelFlops::of_step(const Stage& stage) const {
  const auto batch = static_cast<double>(stage.batch), tokens = batch * static_cast<double>(stage.sequence_length);
  double pairs = 0;
  for (const LayerKind& kind : model_.layers) pairs += visible_pairs(kind, stage.sequence_length, Tensor());
  return of(tokens, tokens, batch * pairs);
}

double ModelFlops::left(const TrainingConfig& training, int64_t steps_done) const {
  double sum = 0;
  for (size_t i = 0; i < training.stages.size(); ++i)
    if (const int64_t steps = steps_left_in(training, i, steps_done); steps > 0)
      sum += static_cast<double>(steps) * of_step(training.stages[i]);
  return sum;
}

}  // namespace ropewalk
