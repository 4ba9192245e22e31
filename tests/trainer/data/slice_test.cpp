#include "trainer/data/slice.h"

#include <gtest/gtest.h>

#include "kernels/make_kernels.h"

namespace ropewalk {
namespace {

Sample numbered_sample(int64_t length, int32_t base) {
  Sample sample;
  for (int32_t i = 0; i < length; ++i) {
    sample.tokens.push_back(base + i);
    sample.targets.push_back(i % 3 == 2 ? -1 : base + i + 1);
    sample.document_begin.push_back(i - i % 3);
  }
  return sample;
}

std::vector<int32_t> download(Kernels& kernels, const Tensor& tensor) {
  std::vector<int32_t> host(static_cast<size_t>(tensor.elements()));
  kernels.download(tensor, host.data());
  return host;
}

// Joined by the layout's pieces, the ranks' slices give the samples again: every token is on exactly one rank.
TEST(Slice, EveryTokenIsOnOneRank) {
  const auto kernels = make_kernels(BackendKind::kReferenceF32);
  for (int ranks = 1; ranks <= 5; ++ranks) {
    for (int64_t length = 1; length <= 23; ++length) {
      const std::vector<Sample> samples = {numbered_sample(length, 100), numbered_sample(length, 300),
                                           numbered_sample(length, 500)};
      const SequenceLayout layout(length, ranks);
      std::vector<Sample> together(samples.size());
      for (Sample& sample : together) {
        sample.tokens = sample.targets = sample.document_begin = std::vector<int32_t>(static_cast<size_t>(length), -7);
      }
      int64_t tokens = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        Arena arena(*kernels, 1 << 16);
        const Sequences mine = slice(samples, layout, rank, *kernels, arena);
        ASSERT_EQ(mine.layout, &layout);
        ASSERT_EQ(mine.count, 3);
        ASSERT_EQ(mine.local_length, layout.local_length(rank));
        ASSERT_EQ(mine.documents.size(), 3u);
        tokens += mine.tokens.elements();
        const auto copy = [&](const Tensor& tensor, std::vector<int32_t> Sample::*member) {
          ASSERT_EQ(tensor.shape(), Shape({3 * mine.local_length}));
          const std::vector<int32_t> host = download(*kernels, tensor);
          for (size_t b = 0; b < samples.size(); ++b) {
            for (const Piece& piece : layout.pieces(rank)) {
              for (int64_t i = 0; i < piece.size(); ++i) {
                int32_t& to = (together[b].*member)[static_cast<size_t>(piece.begin + i)];
                ASSERT_EQ(to, -7) << "position " << piece.begin + i << " is on two ranks";
                to = host[b * static_cast<size_t>(mine.local_length) + static_cast<size_t>(piece.local + i)];
              }
            }
          }
        };
        copy(mine.tokens, &Sample::tokens);
        copy(mine.targets, &Sample::targets);
        copy(mine.document_begin, &Sample::document_begin);
        for (size_t b = 0; b < samples.size(); ++b) ASSERT_EQ(mine.documents[b], samples[b].document_begin);
      }
      ASSERT_EQ(tokens, 3 * length);
      for (size_t b = 0; b < samples.size(); ++b) {
        ASSERT_EQ(together[b].tokens, samples[b].tokens);
        ASSERT_EQ(together[b].targets, samples[b].targets);
        ASSERT_EQ(together[b].document_begin, samples[b].document_begin);
      }
    }
  }
}

TEST(Slice, DocumentsBeginAtOrBeforeTheirTokensAndNeverEarlierThanOthersBefore) {
  const auto kernels = make_kernels(BackendKind::kReferenceF32);
  const SequenceLayout layout(4, 1);
  const auto with_documents = [&](const std::vector<int32_t>& begin) {
    Arena arena(*kernels, 1 << 16);
    std::vector<Sample> samples = {numbered_sample(4, 0)};
    samples[0].document_begin = begin;
    slice(samples, layout, 0, *kernels, arena);
  };
  EXPECT_NO_THROW(with_documents({0, 1, 1, 3}));
  EXPECT_THROW(with_documents({0, 0, 3, 3}), std::logic_error);
  EXPECT_THROW(with_documents({0, 1, 0, 3}), std::logic_error);
  EXPECT_THROW(with_documents({-1, 0, 0, 0}), std::logic_error);
}

TEST(Slice, ASampleOfAnotherLengthIsAMistake) {
  const auto kernels = make_kernels(BackendKind::kReferenceF32);
  Arena arena(*kernels, 1 << 16);
  const SequenceLayout layout(8, 2);
  const std::vector<Sample> samples = {numbered_sample(7, 0)};
  EXPECT_THROW(slice(samples, layout, 0, *kernels, arena), std::logic_error);
}

}  // namespace
}  // namespace ropewalk
