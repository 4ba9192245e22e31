// A step's sequences, as the trainer takes them: global sequences with their documents, on the host. The rank's share
// of them is made by slice() (trainer/data/slice.h).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ropewalk {

// One training sequence of S tokens.
struct Sample {
  // One document of `length` tokens, every one a target, without its contents: for estimates, on a backend that does
  // not compute.
  static Sample blank(int64_t length);

  std::vector<int32_t> tokens;   // [S]
  std::vector<int32_t> targets;  // [S]: the next token; -1 at the last token of a document, which has none to learn
  std::vector<int32_t> document_begin;  // [S]: position, in this sequence, where the document of each token begins
  int64_t blank_length = 0;             // of a blank sample, whose vectors are empty

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
// The batch in micro-batches of `size` samples, the last one perhaps smaller; they refer to the batch.
std::vector<MicroBatch> micro_batches(const Batch& batch, int64_t size);

}  // namespace ropewalk
