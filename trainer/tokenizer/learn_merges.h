// Learns a byte-level byte-pair encoding (arXiv 1508.07909) from words: the pair of neighbouring tokens that occurs
// most often becomes a token, again and again. The same merges as BpeTrainer of Hugging Face's tokenizers: of pairs
// that occur equally often, the one with the smallest ids comes first.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "trainer/tokenizer/merges.h"
#include "trainer/tokenizer/word_counts.h"

namespace ropewalk {

struct LearntEncoding {
  std::vector<std::string>
      tokens;  // bytes, by id: the special tokens (their text), the 256 bytes, then the learnt ones
  std::vector<Merge> merges;
};

struct LearningOptions {
  std::vector<std::string> special_tokens;  // different, not empty; ids from 0 on
  int64_t vocabulary = 0;                   // tokens in all; at least 256 + special_tokens.size()
  int64_t least_count = 0;                  // pairs that occur less often are not merged
};

// The result has fewer tokens than asked for if no pair is left that occurs often enough. `progress`, which may be
// empty and may throw, is called with the number of tokens from time to time.
LearntEncoding learn_merges(const std::vector<WordCount>& words, const LearningOptions& options,
                            const std::function<void(int64_t tokens)>& progress = {});

}  // namespace ropewalk
