#include "trainer/data/packed_samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kernels/random.h"
#include "trainer/data/indexed_dataset.h"
#include "trainer/text/format.h"

namespace ropewalk {

PackedSamples::PackedSamples(Source source, int64_t sequence_length, LongSamples long_samples, std::string order,
                             uint64_t seed)
    : source_(std::move(source)),
      sequence_length_(sequence_length),
      long_samples_(long_samples),
      order_(std::move(order)),
      seed_(seed) {
  std::vector<int32_t> lengths;
  lengths.reserve(static_cast<size_t>(source_.end - source_.begin));
  for (int64_t document = source_.begin; document < source_.end; ++document) {
    lengths.push_back(part_of(document).positions);
    positions_ += lengths.back();
    const int64_t begin = source_.dataset->document_begin(document),
                  end = source_.dataset->document_begin(document + 1);
    if (source_.mask->find(begin + 1, end) == end) {
      ++untargeted_;
    } else if (end - begin > sequence_length_ + 1) {
      ++long_documents_;
    }
  }
  plan_ = plan_packing(lengths, sequence_length_);
}

PackedSamples::Part PackedSamples::part_of(int64_t document) const {
  const int64_t begin = source_.dataset->document_begin(document), end = source_.dataset->document_begin(document + 1);
  const int64_t first_target = source_.mask->find(begin + 1, end), most = sequence_length_ + 1;
  if (first_target >= end) return {};
  if (end - begin <= most) return {begin, static_cast<int32_t>(end - begin - 1)};
  CHECK(long_samples_ != LongSamples::kRefuse, "document {} of {} tokens in sequences of {}", document, end - begin,
        sequence_length_);
  if (long_samples_ == LongSamples::kDrop) return {};
  return {std::min(end - most, first_target - 1), static_cast<int32_t>(sequence_length_)};
}

Sample PackedSamples::at(uint64_t index) const {
  const uint64_t sequences = samples_per_epoch(), epoch = index / sequences;
  uint64_t sequence = index % sequences;
  if (!order_.empty())
    sequence = RandomPermutation(seed_, fmt::format("{} of epoch {}", order_, epoch), sequences)(sequence);
  const auto first = static_cast<size_t>(plan_.begin[sequence]), last = static_cast<size_t>(plan_.begin[sequence + 1]);
  Sample sample;
  for (size_t i = first; i < last; ++i) append(part_of(source_.begin + plan_.documents[i]), sample);
  for (auto position = std::ssize(sample.tokens); position < sequence_length_; ++position) {
    sample.tokens.push_back(0);
    sample.targets.push_back(-1);
    sample.document_begin.push_back(static_cast<int32_t>(position));
  }
  return sample;
}

void PackedSamples::append(const Part& part, Sample& sample) const {
  std::vector<int32_t> tokens(static_cast<size_t>(part.positions) + 1);
  source_.dataset->read(part.begin, tokens);
  const auto document_begin = static_cast<int32_t>(sample.tokens.size());
  sample.tokens.insert(sample.tokens.end(), tokens.begin(), tokens.end() - 1);
  sample.document_begin.resize(sample.tokens.size(), document_begin);
  for (size_t i = 1; i < tokens.size(); ++i)
    sample.targets.push_back((*source_.mask)[part.begin + static_cast<int64_t>(i)] ? tokens[i] : -1);
}

std::string PackedSamples::notes() const {
  const double room = static_cast<double>(plan_.sequences()) * static_cast<double>(sequence_length_);
  std::string text =
      fmt::format("packed {} into {}, {:.1f}% full", counted(plan_.documents.size(), "document"),
                  counted(plan_.sequences(), "sequence"), 100 * static_cast<double>(positions_) / std::max(room, 1.0));
  if (long_documents_ > 0)
    text += fmt::format("; {} {} longer than a sequence", long_samples_ == LongSamples::kCut ? "cut" : "dropped",
                        counted(long_documents_, "document"));
  if (untargeted_ > 0) text += fmt::format("; left out {} without a target", counted(untargeted_, "document"));
  return text;
}

LongDocuments documents_longer_than(const IndexedDataset& dataset, int64_t begin, int64_t end, int64_t most_tokens) {
  LongDocuments found;
  for (int64_t document = begin; document < end; ++document) {
    const int64_t tokens = dataset.document_begin(document + 1) - dataset.document_begin(document);
    if (tokens <= most_tokens) continue;
    ++found.count;
    if (tokens > found.longest_tokens) found.longest = document, found.longest_tokens = tokens;
  }
  return found;
}

}  // namespace ropewalk
