// A part of a dataset's token stream as training samples.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "trainer/data/samples.h"

namespace ropewalk {

// Windows of S + 1 tokens that overlap by one token: window p is [p S, p S + S + 1). So each token but the first is a
// target once. Tokens at the end that do not fill a window are left out.
class WindowSamples : public Samples {
 public:
  // The tokens [begin, end) of `dataset`. order: the name that seeds the shuffling; each epoch is shuffled differently.
  // Empty: not shuffled.
  WindowSamples(std::shared_ptr<const IndexedDataset> dataset, int64_t begin, int64_t end, int64_t sequence_length,
                std::string order, uint64_t seed);
  Sample at(uint64_t index) const override;
  uint64_t samples_per_epoch() const override { return windows_; }

 private:
  Sample read(int64_t begin) const;

  std::shared_ptr<const IndexedDataset> dataset_;
  int64_t begin_, sequence_length_;
  uint64_t windows_;
  std::string order_;
  uint64_t seed_;
};

}  // namespace ropewalk
