#include "trainer/data/samples.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <string>
#include <utility>

#include "kernels/error.h"
#include "trainer/data/blended_samples.h"
#include "trainer/data/indexed_dataset.h"
#include "trainer/data/packed_dataset.h"
#include "trainer/data/window_samples.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

// The field with the stage's sequence length, for messages.
std::string length_field(const Stage& stage) {
  if (stage.first_step == 0) return "data.sequence_length";
  return fmt::format("the sequence_length of the stage from step {} on", stage.first_step);
}

void check(const DataConfig& data, const Stage& stage, int64_t vocabulary) {
  if (stage.prefix.empty()) {
    throw ConfigurationError("data.prefix is empty; set it to the output of `ropewalk prepare`");
  }
  if (stage.sequence_length < 1 || stage.sequence_length >= std::numeric_limits<int32_t>::max()) {
    throw ConfigurationError(
        fmt::format("{} is {}; it must be in [1, 2^31 - 2]", length_field(stage), stage.sequence_length));
  }
  if (!(data.validation_fraction >= 0 && data.validation_fraction < 1)) {
    throw ConfigurationError(
        fmt::format("data.validation_fraction is {}; it must be in [0, 1)", data.validation_fraction));
  }
  if (vocabulary < 1 || vocabulary > std::numeric_limits<int32_t>::max()) {
    throw ConfigurationError(fmt::format("model.vocabulary is {}; it must be in [1, 2^31 - 1]", vocabulary));
  }
}

// Whether any of the tokens [begin, end) has a target: a next token, also in [begin, end), of the same document.
// Usually the first documents decide; only data without any target are searched to the end.
bool has_targets(const IndexedDataset& file, int64_t begin, int64_t end) {
  for (int64_t document = file.document_at(begin), first = begin; first < end; ++document) {
    const int64_t next = file.document_begin(document + 1);
    if (std::min(next, end) - first >= 2) return true;
    first = next;
  }
  return false;
}

Dataset make_dataset(std::shared_ptr<const IndexedDataset> file, const DataConfig& data, const Stage& stage) {
  // Every order has another name, so that none repeats the beginning of an earlier one.
  const std::string order =
      stage.order_begin == 0 ? "sample order" : fmt::format("sample order from step {} on", stage.order_begin);
  if (std::shared_ptr<const TargetMask> mask = open_target_mask(stage.prefix, file->tokens()))
    return make_packed_dataset(std::move(file), std::move(mask), data, stage, order, length_field(stage));
  const int64_t tokens = file->tokens(), needed = stage.sequence_length + 1;
  const auto validation = static_cast<int64_t>(std::floor(static_cast<double>(tokens) * data.validation_fraction));
  const int64_t training = tokens - validation;
  const std::string length = length_field(stage);
  if (training < needed) {
    throw DataError(
        fmt::format("{}.bin has {}, {} of them for training; one sample takes {} + 1 = {}: prepare more "
                    "text, or lower {} or data.validation_fraction",
                    stage.prefix, counted(tokens, "token"), training, length, needed, length));
  }
  if (data.validation_fraction > 0 && validation < needed) {
    throw DataError(
        fmt::format("{}.bin has {}, {} of them for validation (data.validation_fraction = {}); one sample "
                    "takes {} + 1 = {}: raise data.validation_fraction, or set it to 0 for none, or prepare more text",
                    stage.prefix, counted(tokens, "token"), validation, data.validation_fraction, length, needed));
  }

  const int64_t seen =
      (training - 1) / stage.sequence_length * stage.sequence_length + 1;  // tokens that fill sequences
  if (!has_targets(*file, 0, seen)) {
    throw DataError(fmt::format(
        "{}.bin has nothing to train on: in the {} for training that fill sequences of {} = {}, no document "
        "has a second token, so there is no target; prepare longer documents",
        stage.prefix, counted(seen, "token"), length, stage.sequence_length));
  }

  Dataset dataset;
  dataset.tokens = tokens;
  dataset.documents = file->documents();
  dataset.training = std::make_unique<WindowSamples>(file, 0, training, stage.sequence_length, order, data.seed);
  if (validation > 0) {
    dataset.validation = std::make_unique<WindowSamples>(file, training, tokens, stage.sequence_length, "", data.seed);
  }
  dataset.file = std::move(file);
  return dataset;
}

using Files = std::map<std::string, std::shared_ptr<const IndexedDataset>>;

Dataset open_source(const std::string& prefix, const Config& config, Stage stage, Files& files) {
  stage.prefix = prefix;
  check(config.data, stage, config.model.vocabulary);
  auto& file = files[prefix];
  if (!file) file = std::make_shared<const IndexedDataset>(prefix, config.model.vocabulary);
  Dataset dataset = make_dataset(file, config.data, stage);
  dataset.prefix = prefix;
  return dataset;
}

Dataset open_stage(const Config& config, const Stage& stage, Files& files) {
  if (stage.blend.empty()) return open_source(stage.prefix, config, stage, files);
  Dataset blend;
  std::vector<double> weights;
  for (const auto& [prefix, weight] : stage.blend) {
    blend.parts.push_back(open_source(prefix, config, stage, files));
    weights.push_back(weight);
  }
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<const Samples*> training, validation;
  for (size_t i = 0; i < weights.size(); ++i) {
    Dataset& part = blend.parts[i];
    part.share = weights[i] / total;
    blend.tokens += part.tokens;
    blend.documents += part.documents;
    training.push_back(part.training.get());
    validation.push_back(part.validation.get());
  }
  blend.training = std::make_unique<BlendedSamples>(training, BlendOrder(weights, "blend", config.data.seed));
  if (config.data.validation_fraction > 0)
    blend.validation =
        std::make_unique<BlendedSamples>(validation, BlendOrder(weights, "blend of validation", config.data.seed));
  return blend;
}

}  // namespace

std::span<const Dataset> parts_of(const Dataset& dataset) {
  return dataset.parts.empty() ? std::span(&dataset, 1) : std::span(dataset.parts);
}

Dataset open_dataset(const Config& config, const Stage& stage) {
  Files files;
  return open_stage(config, stage, files);
}

std::vector<Dataset> open_datasets(const Config& config) {
  Files files;
  std::vector<Dataset> datasets;
  for (const Stage& stage : config.training.stages) datasets.push_back(open_stage(config, stage, files));
  return datasets;
}

Batch batch_at(const Samples& samples, int64_t consumed, int64_t batch, int data_rank, int data_parallel) {
  CHECK(consumed >= 0 && batch > 0 && data_parallel > 0 && batch % data_parallel == 0 && data_rank >= 0 &&
            data_rank < data_parallel,
        "{} samples after {}, data rank {} of {}", batch, consumed, data_rank, data_parallel);
  const int64_t count = batch / data_parallel;
  const int64_t first = consumed + data_rank * count;
  return batch_between(samples, first, first + count);
}

Batch batch_between(const Samples& samples, int64_t begin, int64_t end) {
  Batch out;
  for (int64_t i = begin; i < end; ++i) out.samples.push_back(samples.at(static_cast<uint64_t>(i)));
  return out;
}

}  // namespace ropewalk
