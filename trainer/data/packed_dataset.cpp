#include "trainer/data/packed_dataset.h"

#include <cmath>
#include <utility>

#include "kernels/error.h"
#include "trainer/data/indexed_dataset.h"
#include "trainer/data/packed_samples.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

// The first document that is for validation.
int64_t first_for_validation(const IndexedDataset& file, double fraction) {
  const auto validation = static_cast<int64_t>(std::floor(static_cast<double>(file.tokens()) * fraction));
  const int64_t begin = file.tokens() - validation;  // of its tokens
  if (begin == file.tokens()) return file.documents();
  const int64_t document = file.document_at(begin);
  return document + (file.document_begin(document) < begin ? 1 : 0);
}

void refuse_long_documents(const IndexedDataset& file, const Stage& stage, const std::string& length_field) {
  const int64_t most = stage.sequence_length + 1;
  const LongDocuments found = documents_longer_than(file, 0, file.documents(), most);
  if (found.count == 0) return;
  throw DataError(
      fmt::format("{}.bin: {} of {} have more than {} + 1 = {} tokens; the longest, document {} (counted from 0), has "
                  "{}: raise {}, "
                  "or set data.long_samples to DROP, which leaves them out, or to CUT, which shortens the prompt from "
                  "its beginning",
                  stage.prefix, found.count, counted(file.documents(), "document"), length_field, most, found.longest,
                  found.longest_tokens, length_field));
}

}  // namespace

Dataset make_packed_dataset(std::shared_ptr<const IndexedDataset> file, std::shared_ptr<const TargetMask> mask,
                            const DataConfig& data, const Stage& stage, const std::string& order,
                            const std::string& length_field) {
  if (data.long_samples == LongSamples::kRefuse) refuse_long_documents(*file, stage, length_field);
  const int64_t cut = first_for_validation(*file, data.validation_fraction), documents = file->documents();
  const auto part = [&](const char* purpose, int64_t begin, int64_t end, const std::string& part_order) {
    auto samples = std::make_unique<PackedSamples>(PackedSamples::Source{file, mask, begin, end}, stage.sequence_length,
                                                   data.long_samples, part_order, data.seed);
    if (samples->samples_per_epoch() > 0) return samples;
    throw DataError(
        fmt::format("{}.bin has nothing {}: of its {}, {} are for that (data.validation_fraction = {}), and none of "
                    "them has a target "
                    "and fits into {} = {}; prepare more data, or change these fields",
                    stage.prefix, purpose, counted(documents, "document"), end - begin, data.validation_fraction,
                    length_field, stage.sequence_length));
  };
  Dataset dataset;
  dataset.tokens = file->tokens();
  dataset.documents = documents;
  dataset.training = part("to train on", 0, cut, order);
  // The same sequences in every validation, also in one that takes only some of them: not the longest documents alone.
  if (data.validation_fraction > 0)
    dataset.validation = part("to validate with", cut, documents, "order of validation");
  dataset.file = std::move(file);
  return dataset;
}

}  // namespace ropewalk
