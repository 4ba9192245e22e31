// The sequences of a step with their documents, in host memory, before context parallelism splits them: slice()
// (trainer/data/slice.h) cuts out a rank's part.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ropewalk {

// One training sequence of S tokens.
struct Sample {
  // A sample with a length but empty vectors, for estimates, on a backend that does not compute. It counts as one
  // document in which every token has a target.
  static Sample blank(int64_t length);

  std::vector<int32_t> tokens;   // [S]
  std::vector<int32_t> targets;  // [S]: the next token; -1 at the last token of a document
  // [S]: for each token, the position in this sequence of its document's first token; 0 if the document began earlier.
  std::vector<int32_t> document_begin;
  int64_t blank_length = 0;  // S of a blank sample, whose vectors are empty

  int64_t length() const;        // S
  int64_t target_count() const;  // targets that are not -1
};

// The sequences of one data-parallel rank in one step, in order.
struct Batch {
  std::vector<Sample> samples;
  int64_t target_count() const;
};

// Consecutive samples of a batch that go through the model together.
struct MicroBatch {
  std::span<const Sample> samples;
  bool is_last;
};
// Splits the batch into micro-batches of `size` samples; the last may be smaller. They refer to `batch`.
std::vector<MicroBatch> micro_batches(const Batch& batch, int64_t size);

}  // namespace ropewalk
