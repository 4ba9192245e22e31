// A step's sequences, as the trainer takes them: global sequences with their documents, on the host. The rank's share
// of them is made by slice() (trainer/data/slice.h).
#pragma once

#include <cstdint>
#include <vector>

namespace ropewalk {

// One training sequence of S tokens.
struct Sample {
  std::vector<int32_t> tokens;   // [S]
  std::vector<int32_t> targets;  // [S]: the next token; -1 at the last token of a document, which has none to learn
  std::vector<int32_t> document_begin;  // [S]: position, in this sequence, where the document of each token begins
  int64_t target_count() const;         // targets that are not -1
};

// The sequences of one data-parallel rank in one step, in order.
struct Batch {
  std::vector<Sample> samples;
  int64_t target_count() const;
};

}  // namespace ropewalk
