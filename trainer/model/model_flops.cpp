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

}  // namespace

int64_t visible_pairs(const Sample& sample, const LayerKind& kind) {
  int64_t pairs = 0;
  for (size_t i = 0; i < sample.tokens.size(); ++i) {
    const int64_t before = static_cast<int64_t>(i) - sample.document_begin[i] + 1;
    pairs += kind.mask == LayerKind::Mask::kSliding ? std::min(before, kind.window) : before;
  }
  return pairs;
}

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
    tokens += static_cast<double>(sample.tokens.size());
    for (size_t layer = 0; layer < model.layers.size(); ++layer) {
      const auto first = std::find(model.layers.begin(), model.layers.end(), model.layers[layer]);
      if (first != model.layers.begin() + static_cast<std::ptrdiff_t>(layer))
        continue;  // counted with the first of its kind
      const auto alike = std::count(model.layers.begin(), model.layers.end(), model.layers[layer]);
      pairs += static_cast<double>(alike) * static_cast<double>(visible_pairs(sample, model.layers[layer]));
    }
  }
  return flops(model, tokens, pairs);
}

double step_flops(const ModelConfig& model, const Stage& stage) {
  const auto batch = static_cast<double>(stage.batch);
  double pairs = 0;
  for (const LayerKind& kind : model.layers) {
    AttentionSpan whole;
    if (kind.mask == LayerKind::Mask::kSliding) whole.window = kind.window;
    pairs += visible_pairs(stage.sequence_length, stage.sequence_length, whole);
  }
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
