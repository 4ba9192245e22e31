// Blends: which dataset, and which of its samples, each sample of a blend is.
#include "trainer/data/blended_samples.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "trainer/data/indexed_writer.h"
#include "trainer/data/samples.h"

namespace ropewalk {
namespace {

using Weights = std::vector<double>;
using Place = BlendOrder::Place;

const std::vector<Weights> kBlends = {{1},
                                      {0.7, 0.3},
                                      {1, 1, 1},
                                      {3, 1, 4, 1, 5, 9, 2, 6},
                                      {0.999, 0.001},
                                      {1e-5, 1, 1e-5, 1e-5},
                                      {1e-6, 1},
                                      {0.125, 0.875, 1e-3, 20}};

double sum(const Weights& weights) { return std::accumulate(weights.begin(), weights.end(), 0.0); }

// After each block every dataset is within 1 of its share: rounding is off by at most 1/2 at each end of its interval;
// the weights are rounded to 2^-33 at each end, which is 2^-32 of a sample for each of the samples so far.
TEST(BlendOrder, EveryBlockKeepsTheShares) {
  for (const Weights& weights : kBlends) {
    const BlendOrder order(weights, "blend", 1);
    for (const uint64_t blocks :
         {uint64_t{1}, uint64_t{2}, uint64_t{3}, uint64_t{10}, uint64_t{1'000}, (uint64_t{1} << 40) / order.block()}) {
      const auto samples = static_cast<double>(blocks * order.block());
      uint64_t all = 0;
      for (size_t d = 0; d < weights.size(); ++d) {
        const uint64_t count = order.count(d, blocks * order.block());
        EXPECT_LE(std::abs(static_cast<double>(count) - samples * weights[d] / sum(weights)),
                  1 + samples * std::ldexp(1, -32))
            << d << " of " << weights.size() << " after " << blocks;
        EXPECT_GE(count, order.count(d, (blocks - 1) * order.block())) << "a block with a negative number of samples";
        all += count;
      }
      EXPECT_EQ(all, blocks * order.block());
    }
  }
}

// Every dataset's samples come in order, without gaps and without repetitions; count() knows how many have come.
TEST(BlendOrder, VisitsEachDatasetInItsOrder) {
  for (const Weights& weights : kBlends) {
    const BlendOrder order(weights, "blend", 7);
    std::vector<uint64_t> next(weights.size());
    const uint64_t samples = order.block() > 10'000 ? order.block() + 1'000 : 50 * order.block();
    for (uint64_t sample = 0; sample < samples; ++sample) {
      const Place place = order.at(sample);
      ASSERT_LT(place.dataset, weights.size());
      ASSERT_EQ(place.index, next[place.dataset]++) << "of dataset " << place.dataset << ", sample " << sample;
      for (size_t d = 0; sample % 61 == 0 && d < weights.size(); ++d)
        ASSERT_EQ(order.count(d, sample + 1), next[d]) << sample;
    }
  }
}

// Within a block the datasets are spread evenly: any 64 samples have nearly their share, unlike random ones, whose
// counts would be off by more than 12 (three standard deviations of 64 draws with probability 1/2) here and there.
TEST(BlendOrder, IsMixedWithinABlock) {
  const BlendOrder order(Weights{1, 1}, "blend", 1), other_seed(Weights{1, 1}, "blend", 2);
  const BlendOrder large(Weights{1, 1, 1e-5}, "blend", 1);
  const auto datasets = [](const BlendOrder& of, uint64_t block) {
    std::vector<size_t> out;
    for (uint64_t i = 0; i < of.block(); ++i) out.push_back(of.at(block * of.block() + i).dataset);
    return out;
  };
  EXPECT_NE(datasets(order, 0), datasets(order, 1));
  EXPECT_NE(datasets(order, 0), datasets(other_seed, 0));
  for (uint64_t begin = 0; begin < large.block(); begin += 64) {
    const uint64_t from_first = large.count(0, begin + 64) - large.count(0, begin);
    EXPECT_GE(from_first, 30u) << begin;
    EXPECT_LE(from_first, 34u) << begin;
  }
}

// A dataset of `epoch` samples, which are numbered.
class Numbered : public Samples {
 public:
  Numbered(int32_t dataset, uint64_t epoch) : dataset_(dataset), epoch_(epoch) {}
  Sample at(uint64_t index) const override {
    Sample sample;
    sample.tokens = {dataset_, static_cast<int32_t>(index)};
    return sample;
  }
  uint64_t samples_per_epoch() const override { return epoch_; }

 private:
  int32_t dataset_;
  uint64_t epoch_;
};

TEST(BlendedSamples, AnEpochEndsBeforeASampleRepeats) {
  for (const Weights& weights : {Weights{1}, Weights{0.7, 0.3}, Weights{1, 1, 2}, Weights{0.01, 0.99}}) {
    for (const uint64_t windows : {1, 2, 17, 64, 1'000}) {
      std::vector<Numbered> parts;
      for (size_t d = 0; d < weights.size(); ++d) parts.emplace_back(d, windows + 3 * d);
      std::vector<const Samples*> pointers;
      for (const Numbered& part : parts) pointers.push_back(&part);
      const BlendedSamples blend(pointers, BlendOrder(weights, "blend", 5));
      uint64_t expected = 0;
      const auto is_new = [&](uint64_t index) {
        const Sample sample = blend.at(index);
        return static_cast<uint64_t>(sample.tokens[1]) < windows + 3 * static_cast<uint64_t>(sample.tokens[0]);
      };
      while (is_new(expected)) ++expected;
      EXPECT_EQ(blend.samples_per_epoch(), expected) << windows;
      EXPECT_GE(expected, 1u);
    }
  }
}

class BlendedData : public ::testing::Test {
 protected:
  // Documents of 50 tokens; all tokens of the dataset are `token`.
  void write(const std::string& name, int32_t token, int documents) {
    IndexedWriter writer(folder_ / name, 100);
    for (int d = 0; d < documents; ++d) {
      writer.append(std::vector<int32_t>(50, token));
      writer.end_document();
    }
    writer.finish();
  }
  Config config(const std::vector<DataSource>& blend) {
    Config config;
    config.model.vocabulary = 100;
    config.data.validation_fraction = 0.25;
    Stage& stage = config.training.stages[0];
    stage.sequence_length = 10;
    for (const DataSource& source : blend) stage.blend.push_back({folder_ / source.prefix, source.weight});
    return config;
  }
  TemporaryDirectory folder_;
};

TEST_F(BlendedData, TrainingAndValidationHaveTheShares) {
  write("a", 1, 100);
  write("b", 2, 40);
  const Dataset dataset = std::move(open_datasets(config({{"a", 3}, {"b", 1}})).front());
  EXPECT_EQ(dataset.file, nullptr);
  ASSERT_EQ(dataset.parts.size(), 2u);
  EXPECT_EQ(dataset.parts[0].share, 0.75);
  EXPECT_EQ(dataset.parts[1].prefix, folder_ / "b");
  EXPECT_EQ(dataset.tokens, 7'000);
  EXPECT_EQ(dataset.documents, 140);
  for (const auto& samples : {std::cref(*dataset.training), std::cref(*dataset.validation)}) {
    int from_a = 0;
    for (uint64_t i = 0; i < 64; ++i) from_a += samples.get().at(i).tokens[0] == 1;
    EXPECT_EQ(from_a, 48);
  }
}

// The batches of any number of data-parallel ranks, begun anywhere, are those of one rank from the beginning.
TEST_F(BlendedData, AnySampleCanBeTheFirst) {
  write("a", 1, 30);
  write("b", 2, 20);
  const Config configuration = config({{"a", 0.6}, {"b", 0.4}});
  const Dataset whole = std::move(open_datasets(configuration).front());
  const Batch all = batch_between(*whole.training, 0, 300);
  for (const int64_t consumed : {0, 1, 63, 64, 200}) {
    const Dataset resumed = std::move(open_datasets(configuration).front());
    for (const int data_parallel : {1, 2, 4}) {
      for (int rank = 0; rank < data_parallel; ++rank) {
        const Batch batch = batch_at(*resumed.training, consumed, 80, rank, data_parallel);
        for (size_t i = 0; i < batch.samples.size(); ++i) {
          const Sample& expected = all.samples[static_cast<size_t>(consumed) +
                                               static_cast<size_t>(rank) * 80 / static_cast<size_t>(data_parallel) + i];
          EXPECT_EQ(batch.samples[i].tokens, expected.tokens);
          EXPECT_EQ(batch.samples[i].document_begin, expected.document_begin);
        }
      }
    }
  }
}

TEST_F(BlendedData, ADatasetThatIsTooSmallIsNamed) {
  write("a", 1, 30);
  write("small", 2, 1);
  Config without = config({{"a", 1}, {"small", 1}});
  without.data.validation_fraction = 0.1;
  expect_error<DataError>([&] { open_datasets(without); }, {"small.bin has 50 tokens, 5 of them for validation"});
  without.data.validation_fraction = 0;
  const Dataset dataset = std::move(open_datasets(without).front());
  EXPECT_EQ(dataset.validation, nullptr);
  without.training.stages[0].blend[1].prefix = folder_ / "absent";
  expect_error<DataError>([&] { open_datasets(without); }, {"absent.idx", "No such file"});
}

TEST_F(BlendedData, StagesShareFiles) {
  write("a", 1, 30);
  write("b", 2, 30);
  Config configuration = config({{"a", 1}, {"b", 1}});
  Stage alone = configuration.training.stages[0];
  alone.first_step = alone.order_begin = 10;
  alone.blend.clear();
  alone.prefix = folder_ / "b";
  configuration.training.stages.push_back(alone);
  const std::vector<Dataset> datasets = open_datasets(configuration);
  EXPECT_EQ(datasets[0].parts[1].file, datasets[1].file);
}

}  // namespace
}  // namespace ropewalk
