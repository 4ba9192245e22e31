#include "trainer/data/window_samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kernels/random.h"
#include "trainer/data/indexed_dataset.h"

namespace ropewalk {

WindowSamples::WindowSamples(std::shared_ptr<const IndexedDataset> dataset, int64_t begin, int64_t end,
                             int64_t sequence_length, std::string order, uint64_t seed)
    : dataset_(std::move(dataset)),
      begin_(begin),
      sequence_length_(sequence_length),
      windows_(static_cast<uint64_t>((end - begin - 1) / sequence_length)),
      order_(std::move(order)),
      seed_(seed) {}

Sample WindowSamples::at(uint64_t index) const {
  const uint64_t epoch = index / windows_;
  uint64_t window = index % windows_;
  if (!order_.empty()) {
    window = RandomPermutation(seed_, fmt::format("{} of epoch {}", order_, epoch), windows_)(window);
  }
  return read(begin_ + static_cast<int64_t>(window) * sequence_length_);
}

Sample WindowSamples::read(int64_t begin) const {
  const auto length = static_cast<size_t>(sequence_length_);
  std::vector<int32_t> tokens(length + 1);
  dataset_->read(begin, tokens);

  Sample sample;
  sample.targets.assign(tokens.begin() + 1, tokens.end());
  sample.document_begin.resize(length);
  for (int64_t position = 0; position < sequence_length_;) {  // one document at a time
    const int64_t document = dataset_->document_at(begin + position);
    const int64_t document_end = dataset_->document_begin(document + 1) - begin;
    if (document_end <= sequence_length_) sample.targets[static_cast<size_t>(document_end - 1)] = -1;
    const int64_t end = std::min(document_end, sequence_length_);
    std::fill(sample.document_begin.begin() + position, sample.document_begin.begin() + end,
              static_cast<int32_t>(position));
    position = end;
  }
  tokens.pop_back();
  sample.tokens = std::move(tokens);
  return sample;
}

}  // namespace ropewalk
