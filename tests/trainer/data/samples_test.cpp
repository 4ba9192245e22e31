#include "trainer/data/samples.h"

#include <algorithm>
#include <set>

#include "kernels/random.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "trainer/data/indexed_writer.h"

namespace ropewalk {
namespace {

constexpr int64_t kVocabulary = 1000;

// A dataset and its contents: token i of document d.
struct Corpus {
  explicit Corpus(const std::vector<int64_t>& lengths) {
    IndexedWriter writer(folder / "x", kVocabulary);
    for (size_t d = 0; d < lengths.size(); ++d) {
      for (int64_t i = 0; i < lengths[d]; ++i) {
        tokens.push_back(static_cast<int32_t>((tokens.size() * 7 + d) % kVocabulary));
        document.push_back(static_cast<int64_t>(d));
        writer.append(std::span(tokens).last(1));
      }
      writer.end_document();
    }
    writer.finish();
  }
  int64_t size() const { return static_cast<int64_t>(tokens.size()); }

  Config config(int64_t sequence_length, double validation_fraction, uint64_t seed = 1) const {
    Config config;
    config.training.stages[0].prefix = folder / "x";
    config.training.stages[0].sequence_length = sequence_length;
    config.data.validation_fraction = validation_fraction;
    config.data.seed = seed;
    return config;
  }

  // The sample of the tokens [begin, begin + length], by the definition.
  Sample window(int64_t begin, int64_t length) const {
    Sample sample;
    for (int64_t i = begin; i < begin + length; ++i) {
      const auto at = [](const auto& values, int64_t index) { return values[static_cast<size_t>(index)]; };
      sample.tokens.push_back(at(tokens, i));
      sample.targets.push_back(at(document, i) == at(document, i + 1) ? at(tokens, i + 1) : -1);
      int64_t first = i;
      while (first > begin && at(document, first - 1) == at(document, i)) --first;
      sample.document_begin.push_back(static_cast<int32_t>(first - begin));
    }
    return sample;
  }

  TemporaryDirectory folder;
  std::vector<int32_t> tokens;
  std::vector<int64_t> document;
};

// The dataset of a run with one stage.
Dataset open_dataset(Config config, int64_t vocabulary) {
  config.model.vocabulary = vocabulary;
  return std::move(open_datasets(config).front());
}

bool same(const Sample& a, const Sample& b) {
  return a.tokens == b.tokens && a.targets == b.targets && a.document_begin == b.document_begin;
}

// The windows of the samples [first, first + count), found by their contents.
std::vector<int64_t> windows_of(const Samples& samples, const std::vector<Sample>& windows, uint64_t first,
                                uint64_t count) {
  std::vector<int64_t> found;
  for (uint64_t i = first; i < first + count; ++i) {
    const Sample sample = samples.at(i);
    const auto it = std::find_if(windows.begin(), windows.end(), [&](const Sample& w) { return same(w, sample); });
    found.push_back(it == windows.end() ? -1 : it - windows.begin());
  }
  return found;
}

// Documents shorter and longer than a sample, of one token and of none; samples of all lengths, with and without
// validation: every epoch has every window once, and each sample is as defined.
TEST(Samples, AnEpochIsEveryWindowOnce) {
  const Corpus corpus({3, 1, 1, 0, 9, 2, 0, 0, 30, 5, 1, 4, 0});
  for (int64_t length = 1; length <= 24; ++length) {
    for (const double fraction : {0.0, 0.46}) {
      const Dataset dataset = open_dataset(corpus.config(length, fraction), kVocabulary);
      EXPECT_EQ(dataset.tokens, corpus.size());
      EXPECT_EQ(dataset.documents, 13);
      const int64_t cut = corpus.size() - static_cast<int64_t>(static_cast<double>(corpus.size()) * fraction);
      const auto check = [&](const Samples& samples, int64_t begin, int64_t end, bool shuffled) {
        std::vector<Sample> windows;
        for (int64_t at = begin; at + length < end; at += length) windows.push_back(corpus.window(at, length));
        const uint64_t count = windows.size();
        ASSERT_EQ(samples.samples_per_epoch(), count);
        for (uint64_t epoch = 0; epoch < 3; ++epoch) {
          std::vector<Sample> missing = windows;
          for (uint64_t i = 0; i < count; ++i) {
            const Sample sample = samples.at(epoch * count + i);
            if (!shuffled) {
              ASSERT_TRUE(same(sample, windows[i]));
            }
            const auto it =
                std::find_if(missing.begin(), missing.end(), [&](const Sample& w) { return same(w, sample); });
            ASSERT_NE(it, missing.end()) << "sample " << i << " of epoch " << epoch << ", length " << length;
            missing.erase(it);
          }
        }
      };
      check(*dataset.training, 0, cut, true);
      ASSERT_EQ(dataset.validation != nullptr, fraction > 0);
      if (dataset.validation) check(*dataset.validation, cut, corpus.size(), false);
    }
  }
}

// By hand: the end-of-document token is the last of its document and has no target; the part after the cut begins a new
// document.
TEST(Samples, DocumentsAtBoundaries) {
  const Corpus corpus({3, 4, 2, 3});
  const auto& t = corpus.tokens;
  const Dataset dataset = open_dataset(corpus.config(5, 0.5), kVocabulary);  // parts of 6 tokens, cut within document 1
  const Sample first = dataset.training->at(0);
  EXPECT_EQ(first.tokens, (std::vector<int32_t>{t[0], t[1], t[2], t[3], t[4]}));
  EXPECT_EQ(first.targets, (std::vector<int32_t>{t[1], t[2], -1, t[4], t[5]}));
  EXPECT_EQ(first.document_begin, (std::vector<int32_t>{0, 0, 0, 3, 3}));
  EXPECT_EQ(first.target_count(), 4);
  const Sample second = dataset.validation->at(0);
  EXPECT_EQ(second.tokens, (std::vector<int32_t>{t[6], t[7], t[8], t[9], t[10]}));
  EXPECT_EQ(second.targets, (std::vector<int32_t>{-1, t[8], -1, t[10], t[11]}));
  EXPECT_EQ(second.document_begin, (std::vector<int32_t>{0, 1, 1, 3, 3}));
  EXPECT_EQ(second.target_count(), 3);

  // If a document ends with the sample, its last token has no target, although a token follows.
  const Dataset exact = open_dataset(corpus.config(3, 0), kVocabulary);
  const std::vector<Sample> windows = {corpus.window(0, 3), corpus.window(3, 3), corpus.window(6, 3)};
  for (uint64_t i = 0; i < 3; ++i) {
    const Sample sample = exact.training->at(i);
    if (sample.tokens[0] == t[0]) {
      EXPECT_EQ(sample.targets, (std::vector<int32_t>{t[1], t[2], -1}));
    }
  }
}

TEST(Samples, OrderIsAFunctionOfSeedAndIndex) {
  const Corpus corpus({501});
  std::vector<Sample> windows;
  for (int64_t at = 0; at < 500; at += 5) windows.push_back(corpus.window(at, 5));
  const auto order = [&](uint64_t seed, uint64_t epoch) {
    const Dataset dataset = open_dataset(corpus.config(5, 0, seed), kVocabulary);
    return windows_of(*dataset.training, windows, 100 * epoch, 100);
  };
  std::vector<int64_t> in_sequence(100);
  for (size_t i = 0; i < 100; ++i) in_sequence[i] = static_cast<int64_t>(i);
  const std::set<std::vector<int64_t>> orders = {in_sequence, order(1, 0), order(1, 1),
                                                 order(1, 2), order(2, 0), order(2, 1)};
  EXPECT_EQ(orders.size(), 6u);  // all of them differ
  EXPECT_EQ(order(1, 0), order(1, 0));
  EXPECT_EQ(order(1, 2), order(1, 2));
  // The order is part of a run's format: with another order, a resumed run would see samples twice.
  EXPECT_EQ(windows_of(*open_dataset(corpus.config(5, 0, 1234), kVocabulary).training, windows, 0, 8),
            (std::vector<int64_t>{65, 82, 83, 7, 50, 60, 2, 91}));
  EXPECT_EQ(windows_of(*open_dataset(corpus.config(5, 0, 1234), kVocabulary).training, windows, 100, 8),
            (std::vector<int64_t>{32, 59, 15, 35, 77, 7, 13, 70}));
}

TEST(Samples, AnyIndexIsReadWithoutTheOnesBefore) {
  const Corpus corpus({40, 23});
  const Dataset dataset = open_dataset(corpus.config(4, 0), kVocabulary);
  const uint64_t far = uint64_t{1} << 60;
  EXPECT_TRUE(same(dataset.training->at(far), dataset.training->at(far)));
  EXPECT_FALSE(dataset.training->at(far).tokens.empty());
}

TEST(Samples, BatchesAreTheSameWhateverTheDataRanks) {
  const Corpus corpus({100, 51, 60});
  const Dataset dataset = open_dataset(corpus.config(7, 0), kVocabulary);
  for (const int64_t consumed : {0, 12, 24, 25}) {
    for (const int ranks : {1, 2, 3, 4, 6, 12}) {
      uint64_t index = static_cast<uint64_t>(consumed);
      int64_t targets = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const Batch batch = batch_at(*dataset.training, consumed, 12, rank, ranks);
        ASSERT_EQ(batch.samples.size(), static_cast<size_t>(12 / ranks));
        for (const Sample& sample : batch.samples) {
          ASSERT_TRUE(same(sample, dataset.training->at(index++))) << consumed << " " << ranks << " " << rank;
          targets += sample.target_count();
        }
      }
      EXPECT_EQ(targets, batch_at(*dataset.training, consumed, 12, 0, 1).target_count());
    }
  }
  EXPECT_THROW(batch_at(*dataset.training, 0, 12, 0, 5), std::logic_error);
  EXPECT_THROW(batch_at(*dataset.training, 0, 12, 2, 2), std::logic_error);
}

TEST(Samples, TooFewTokensAreRefusedWithTheNumbers) {
  const Corpus corpus({20});
  EXPECT_EQ(open_dataset(corpus.config(19, 0), kVocabulary).training->samples_per_epoch(), 1u);
  expect_error<DataError>([&] { open_dataset(corpus.config(20, 0), kVocabulary); },
                          {"x.bin has 20 tokens, 20 of them for training", "= 21", "lower data.sequence_length"});
  expect_error<DataError>([&] { open_dataset(corpus.config(15, 0.25), kVocabulary); },
                          {"15 of them for training", "= 16"});
  expect_error<DataError>([&] { open_dataset(corpus.config(5, 0.25), kVocabulary); },
                          {"5 of them for validation", "= 6", "set it to 0"});
  const Corpus none({});
  expect_error<DataError>([&] { open_dataset(none.config(1, 0), kVocabulary); }, {"x.bin has 0 tokens"});
}

TEST(Samples, DataWithoutATargetAreRefused) {
  const auto refused = [](const std::vector<int64_t>& lengths, int64_t sequence_length, double validation = 0) {
    const Corpus corpus(lengths);
    expect_error<DataError>([&] { open_dataset(corpus.config(sequence_length, validation), kVocabulary); },
                            {"x.bin has nothing to train on", "second token", "prepare longer documents"});
  };
  const std::vector<int64_t> single(40, 1);
  refused(single, 8);
  std::vector<int64_t> late = single;  // the only pair is in the unused rest, or in the validation part
  late.push_back(2);
  refused(late, 20);
  refused(late, 4, 0.25);

  std::vector<int64_t> last = single;  // 41 tokens: the pair ends the second sequence
  last.back() = 2;
  EXPECT_NO_THROW(open_dataset(Corpus(last).config(20, 0), kVocabulary));
  const Dataset without = open_dataset(Corpus({20, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}).config(4, 0.33), kVocabulary);
  EXPECT_EQ(without.validation->at(0).target_count(), 0) << "validation may have none";
}

TEST(Samples, WrongConfigurationIsRefused) {
  const Corpus corpus({20});
  Config config = corpus.config(4, 0);
  config.training.stages[0].prefix = "";
  expect_error<ConfigurationError>([&] { open_dataset(config, kVocabulary); }, {"data.prefix"});
  for (const int64_t length : {int64_t{0}, int64_t{-1}, int64_t{1} << 31}) {
    expect_error<ConfigurationError>([&] { open_dataset(corpus.config(length, 0), kVocabulary); },
                                     {"data.sequence_length is " + std::to_string(length)});
  }
  for (const double fraction : {-0.1, 1.0, std::numeric_limits<double>::quiet_NaN()}) {
    expect_error<ConfigurationError>([&] { open_dataset(corpus.config(4, fraction), kVocabulary); },
                                     {"data.validation_fraction"});
  }
  expect_error<ConfigurationError>([&] { open_dataset(corpus.config(4, 0), 0); }, {"model.vocabulary is 0"});
}

// Each stage has windows of its own length from its own data. A stage that changes neither continues the order of the
// stage before; every new order differs from the earlier ones.
TEST(Samples, OfStages) {
  const Corpus corpus({501}), other({333});
  Config config = corpus.config(5, 0);
  config.model.vocabulary = kVocabulary;
  Stage stage = config.training.stages[0];
  const auto add = [&](int64_t first_step, int64_t length, const Corpus& data, int64_t order_begin) {
    stage.first_step = first_step;
    stage.sequence_length = length;
    stage.prefix = data.folder / "x";
    stage.order_begin = order_begin;
    config.training.stages.push_back(stage);
  };
  add(10, 5, corpus, 0);  // another batch or theta
  add(20, 20, corpus, 20);
  add(30, 5, corpus, 30);
  add(40, 5, other, 40);
  const std::vector<Dataset> datasets = open_datasets(config);
  const auto order = [&](size_t index, const Corpus& data) {
    const Stage& at = config.training.stages[index];
    std::vector<Sample> windows;
    for (int64_t begin = 0; begin + at.sequence_length < data.size(); begin += at.sequence_length)
      windows.push_back(data.window(begin, at.sequence_length));
    EXPECT_EQ(datasets[index].training->samples_per_epoch(), windows.size());
    return windows_of(*datasets[index].training, windows, 0, windows.size());
  };
  const std::vector<int64_t> first = order(0, corpus);
  EXPECT_EQ(order(1, corpus), first);
  for (size_t index : {2, 3, 4}) {
    const Corpus& data = index == 4 ? other : corpus;
    std::vector<int64_t> found = order(index, data);
    EXPECT_NE(found, first);
    std::ranges::sort(found);
    for (size_t i = 0; i < found.size(); ++i) ASSERT_EQ(found[i], static_cast<int64_t>(i)) << index;
  }
  EXPECT_EQ(datasets[0].file, datasets[3].file);
  EXPECT_NE(datasets[0].file, datasets[4].file);

  config.training.stages[2].sequence_length = 501;
  expect_error<DataError>([&] { open_datasets(config); },
                          {"one sample takes the sequence_length of the stage from step 20 on + 1 = 502"});
}

TEST(Samples, ATokenBeyondTheVocabularyIsMetWithItsPosition) {
  const Corpus corpus({20});  // token i is 7 i
  const Dataset dataset = open_dataset(corpus.config(19, 0), 100);
  expect_error<DataError>([&] { dataset.training->at(0); }, {"x.bin", "token 15", "is 105", "[0, 100)"});
}

}  // namespace
}  // namespace ropewalk
