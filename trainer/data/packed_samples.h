// Documents with masked targets (targets.h) as training samples: each sequence holds whole documents (packing_plan.h),
// and padding after them.
//
// A document of n tokens takes n - 1 positions: its last token is only a target. Padding is token 0 without a target.
// Each padding token is a document of its own, so attention has next to no work there.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "trainer/config/config.h"
#include "trainer/data/packing_plan.h"
#include "trainer/data/samples.h"
#include "trainer/data/targets.h"

namespace ropewalk {

class PackedSamples : public Samples {
 public:
  // A range of documents of `dataset`.
  struct Source {
    std::shared_ptr<const IndexedDataset> dataset;
    std::shared_ptr<const TargetMask> mask;
    int64_t begin, end;
  };
  // Documents without a target are left out, and so are, with LongSamples::kDrop, those of more than sequence_length +
  // 1 tokens. kCut keeps sequence_length + 1 consecutive tokens of such a document: it drops the beginning, up to the
  // token before the first target at most, and then the end. With kRefuse there must be none (longest_document()).
  // order, seed: as of WindowSamples.
  PackedSamples(Source source, int64_t sequence_length, LongSamples long_samples, std::string order, uint64_t seed);
  Sample at(uint64_t index) const override;
  uint64_t samples_per_epoch() const override { return static_cast<uint64_t>(plan_.sequences()); }  // may be 0
  // "packed 900 documents into 120 sequences, 96.1% full; dropped 3 longer than a sequence; ..."
  std::string notes() const override;

 private:
  // The tokens of a document that a sequence holds: [begin, begin + positions + 1).
  struct Part {
    int64_t begin = 0;
    int32_t positions = 0;  // 0: the document is left out
  };
  Part part_of(int64_t document) const;
  void append(const Part& part, Sample& sample) const;

  Source source_;
  int64_t sequence_length_;
  LongSamples long_samples_;
  PackingPlan plan_;
  std::string order_;
  uint64_t seed_;
  int64_t positions_ = 0, long_documents_ = 0, untargeted_ = 0;  // for notes()
};

// The documents of a range that have more than `most_tokens` tokens: how many, and the longest.
struct LongDocuments {
  int64_t count = 0, longest = 0, longest_tokens = 0;
};
LongDocuments documents_longer_than(const IndexedDataset& dataset, int64_t begin, int64_t end, int64_t most_tokens);

}  // namespace ropewalk
