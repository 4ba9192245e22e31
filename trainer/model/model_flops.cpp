#include "trainer/model/model_flops.h"

#include <algorithm>

#include "kernels/flops.h"
#include "trainer/config/stages.h"
#include "trainer/model/parameters.h"

namespace ropewalk {
namespace {

ParameterTable whole_table(const ModelConfig& model) { return ParameterTable(model, MeshShape(), 0, false, 0); }

// pairs: visible ones, over all layers.
double flops(const ModelConfig& model, double tokens, double pairs) {
  return 6 * static_cast<double>(matrix_elements(model)) * tokens +
         12 * static_cast<double>(model.query_heads * model.head_size) * pairs;
}

// Of a whole sequence. document_begin: of every position, or empty: one document.
double visible_pairs(const LayerKind& kind, int64_t length, const Tensor& document_begin) {
  AttentionSpan span;
  span.document_begin = document_begin;
  if (kind.mask == LayerKind::Mask::kSliding) span.window = kind.window;
  return visible_pairs(length, length, span);
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

double training_flops(const ModelConfig& model, const Batch& batch) {
  double tokens = 0, pairs = 0;
  for (const Sample& sample : batch.samples) {
    const auto length = static_cast<int64_t>(sample.tokens.size());
    const Tensor document_begin(const_cast<int32_t*>(sample.document_begin.data()), DType::kI32, Device{}, {length});
    tokens += static_cast<double>(length);
    for (size_t layer = 0; layer < model.layers.size(); ++layer) {
      const auto first = std::find(model.layers.begin(), model.layers.end(), model.layers[layer]);
      if (first != model.layers.begin() + static_cast<std::ptrdiff_t>(layer))
        continue;  // counted with the first of its kind
      const auto alike = std::count(model.layers.begin(), model.layers.end(), model.layers[layer]);
      pairs += static_cast<double>(alike) * visible_pairs(model.layers[layer], length, document_begin);
    }
  }
  return flops(model, tokens, pairs);
}

double step_flops(const ModelConfig& model, const Stage& stage) {
  const auto batch = static_cast<double>(stage.batch);
  double pairs = 0;
  for (const LayerKind& kind : model.layers) pairs += visible_pairs(kind, stage.sequence_length, Tensor());
  return flops(model, batch * static_cast<double>(stage.sequence_length), batch * pairs);
}

double flops_left(const Config& config, int64_t steps_done) {
  double sum = 0;
  for (size_t i = 0; i < config.training.stages.size(); ++i)
    sum += static_cast<double>(steps_left_in(config.training, i, steps_done)) *
           step_flops(config.model, config.training.stages[i]);
  return sum;
}

}  // namespace ropewalk
