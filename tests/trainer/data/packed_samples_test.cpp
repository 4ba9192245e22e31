#include "trainer/data/packed_samples.h"

#include <algorithm>
#include <set>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "trainer/data/indexed_writer.h"

namespace ropewalk {
namespace {

constexpr int64_t kVocabulary = 1000;

// Documents whose tokens count up from 10 times their number, so that each token tells its place; in `targets`, the
// positions in the document that are targets.
struct Document {
  int64_t tokens;
  std::vector<int64_t> targets;
};
struct Corpus {
  explicit Corpus(const std::vector<Document>& list) : documents(list) {
    IndexedWriter writer(folder / "x", kVocabulary, indexed::kMaxSequenceTokens, real_file_system(FileOwner::kData),
                         IndexedWriter::Targets::kMasked);
    for (size_t d = 0; d < list.size(); ++d) {
      std::vector<int32_t> tokens;
      std::vector<bool> is_target(static_cast<size_t>(list[d].tokens));
      for (int64_t i = 0; i < list[d].tokens; ++i)
        tokens.push_back(static_cast<int32_t>(40 * d + 1) + static_cast<int32_t>(i));
      for (const int64_t target : list[d].targets) is_target[static_cast<size_t>(target)] = true;
      writer.append(tokens);
      writer.append_targets(is_target);
      writer.end_document();
    }
    writer.finish();
  }

  Dataset open(int64_t length, LongSamples long_samples = LongSamples::kRefuse, double validation = 0) const {
    Config config;
    config.model.vocabulary = kVocabulary;
    config.training.stages[0].prefix = folder / "x";
    config.training.stages[0].sequence_length = length;
    config.data.validation_fraction = validation;
    config.data.long_samples = long_samples;
    return std::move(open_datasets(config).front());
  }

  TemporaryDirectory folder;
  std::vector<Document> documents;
};

using Tokens = std::vector<int32_t>;

std::vector<Sample> epoch(const Samples& samples, uint64_t number = 0) {
  std::vector<Sample> out;
  const uint64_t count = samples.samples_per_epoch();
  for (uint64_t i = 0; i < count; ++i) out.push_back(samples.at(number * count + i));
  return out;
}

// The sample that begins with this token.
Sample beginning_with(const std::vector<Sample>& samples, int32_t token) {
  const auto found = std::ranges::find(samples, token, [](const Sample& sample) { return sample.tokens.front(); });
  return found == samples.end() ? Sample() : *found;
}

// By hand: sequences of 7. Document 0 takes 5 positions and document 2 two beside it; document 1 takes 6, and is
// padded.
TEST(PackedSamples, HoldWholeDocuments) {
  const Corpus corpus({{6, {3, 4}}, {7, {0, 6}}, {3, {1, 2}}});
  const Dataset dataset = corpus.open(7);
  EXPECT_EQ(dataset.tokens, 16);
  EXPECT_EQ(dataset.documents, 3);
  EXPECT_EQ(dataset.training->notes(), "packed 3 documents into 2 sequences, 92.9% full");
  const std::vector<Sample> samples = epoch(*dataset.training);
  ASSERT_EQ(samples.size(), 2u);
  const Sample two = beginning_with(samples, 1);
  EXPECT_EQ(two.tokens, (Tokens{1, 2, 3, 4, 5, 81, 82}));
  EXPECT_EQ(two.targets, (Tokens{-1, -1, 4, 5, -1, 82, 83}));
  EXPECT_EQ(two.document_begin, (Tokens{0, 0, 0, 0, 0, 5, 5}));
  const Sample padded = beginning_with(samples, 41);
  EXPECT_EQ(padded.tokens, (Tokens{41, 42, 43, 44, 45, 46, 0}));
  EXPECT_EQ(padded.targets, (Tokens{-1, -1, -1, -1, -1, 47, -1}));
  EXPECT_EQ(padded.document_begin, (Tokens{0, 0, 0, 0, 0, 0, 6}));
}

// Sequences of 4, so at most 5 tokens of a document.
TEST(PackedSamples, CutDropOrRefuseLongDocuments) {
  const Corpus corpus({{8, {6, 7}}, {9, {2, 3, 4, 5, 6, 7, 8}}, {5, {4}}, {7, {1, 6}}, {6, {0}}});
  const std::vector<Sample> cut = epoch(*corpus.open(4, LongSamples::kCut).training);
  ASSERT_EQ(cut.size(), 4u);
  EXPECT_EQ(beginning_with(cut, 4).targets, (Tokens{-1, -1, 7, 8}));       // the prompt loses its first three tokens
  EXPECT_EQ(beginning_with(cut, 42).targets, (Tokens{43, 44, 45, 46}));    // one of the prompt stays; the end is cut
  EXPECT_EQ(beginning_with(cut, 81).targets, (Tokens{-1, -1, -1, 85}));    // fits
  EXPECT_EQ(beginning_with(cut, 121).targets, (Tokens{122, -1, -1, -1}));  // the first target stays
  EXPECT_EQ(corpus.open(4, LongSamples::kCut).training->notes(),
            "packed 4 documents into 4 sequences, 100.0% full; cut 3 documents longer than a sequence; left out 1 "
            "document without a target");
  const std::vector<Sample> dropped = epoch(*corpus.open(4, LongSamples::kDrop).training);
  ASSERT_EQ(dropped.size(), 1u);
  EXPECT_EQ(dropped[0].targets, (Tokens{-1, -1, -1, 85}));
  EXPECT_EQ(corpus.open(4, LongSamples::kDrop).training->notes(),
            "packed 1 document into 1 sequence, 100.0% full; dropped 3 documents longer than a sequence; left out 1 "
            "document without a target");
  expect_error<DataError>([&] { corpus.open(4); },
                          {"x.bin: 4 of 5 documents have more than data.sequence_length + 1 = 5",
                           "document 1 (counted from 0), has 9", "data.long_samples", "CUT"});
}

// Every epoch has each target of the training part once, in another order; the validation part has the other documents.
TEST(PackedSamples, AnEpochIsEveryTargetOnce) {
  std::vector<Document> documents;
  for (int64_t d = 0; d < 24; ++d) {
    documents.push_back({2 + d * 7 % 11, {}});
    for (int64_t i = 0; i < documents.back().tokens; ++i)
      if ((i * i + d) % 3 != 0 || i + 1 == documents.back().tokens) documents.back().targets.push_back(i);
  }
  const Corpus corpus(documents);
  const Dataset dataset = corpus.open(13, LongSamples::kRefuse, 0.3);
  const auto tokens = static_cast<double>(dataset.tokens);
  std::multiset<int32_t> training, validation;
  int64_t begin = 0;
  for (size_t d = 0; d < documents.size(); ++d) {
    const bool validates = begin >= dataset.tokens - static_cast<int64_t>(tokens * 0.3);
    for (const int64_t target : documents[d].targets)
      if (target > 0)
        (validates ? validation : training).insert(static_cast<int32_t>(40 * static_cast<int64_t>(d) + 1 + target));
    begin += documents[d].tokens;
  }
  const auto targets_of = [](const std::vector<Sample>& samples) {
    std::multiset<int32_t> found;
    for (const Sample& sample : samples) {
      EXPECT_EQ(sample.length(), 13);
      for (size_t i = 0; i < sample.targets.size(); ++i) {
        if (sample.targets[i] < 0) continue;
        EXPECT_EQ(sample.targets[i], sample.tokens[i] + 1);  // of the same document
        found.insert(sample.targets[i]);
      }
    }
    return found;
  };
  EXPECT_FALSE(validation.empty());
  EXPECT_EQ(targets_of(epoch(*dataset.validation)), validation);
  std::set<Tokens> orders;
  for (uint64_t number = 0; number < 4; ++number) {
    const std::vector<Sample> samples = epoch(*dataset.training, number);
    EXPECT_EQ(targets_of(samples), training);
    Tokens order;
    for (const Sample& sample : samples) order.push_back(sample.tokens.front());
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 4u);
}

TEST(PackedSamples, NothingToTrainOnIsAnError) {
  expect_error<DataError>(
      [] {
        Corpus({{5, {0}}, {4, {}}}).open(8);
      },
      {"x.bin has nothing to train on", "2 documents"});
  expect_error<DataError>(
      [] {
        Corpus({{5, {3}}, {4, {1}}}).open(8, LongSamples::kRefuse, 0.1);
      },
      {"x.bin has nothing to validate with", "data.validation_fraction = 0.1"});
  expect_error<DataError>([] { Corpus({{5, {3}}, {4, {1}}}).open(2, LongSamples::kDrop); }, {"nothing to train on"});
}

}  // namespace
}  // namespace ropewalk
