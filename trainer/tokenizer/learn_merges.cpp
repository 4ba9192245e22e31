#include "trainer/tokenizer/learn_merges.h"

#include <algorithm>
#include <queue>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "kernels/error.h"
#include "trainer/tokenizer/byte_alphabet.h"

namespace ropewalk {
namespace {

using Pair = std::pair<int32_t, int32_t>;

struct PairHash {
  size_t operator()(const Pair& pair) const {
    return (uint64_t{static_cast<uint32_t>(pair.first)} << 32 | static_cast<uint32_t>(pair.second)) *
           0x9e3779b97f4a7c15u;
  }
};

class Learner {
 public:
  Learner(const std::vector<WordCount>& words, const LearningOptions& options) : options_(options) {
    const std::array<int32_t, 256> byte_ids = add_first_tokens();
    for (const auto& [word, count] : words) {
      words_.push_back({symbols_.size(), word.size(), count});
      for (const char byte : word) symbols_.push_back(byte_ids[static_cast<uint8_t>(byte)]);
    }
    for (uint32_t i = 0; i < words_.size(); ++i) {
      const std::span<int32_t> symbols = symbols_of(i);
      for (size_t at = 0; at + 1 < symbols.size(); ++at) add({symbols[at], symbols[at + 1]}, words_[i].count, i);
    }
    queue_new_pairs();
  }

  LearntEncoding learn(const std::function<void(int64_t)>& progress) {
    while (std::ssize(out_.tokens) < options_.vocabulary && !queue_.empty()) {
      Candidate best = queue_.top();
      queue_.pop();
      const int64_t count = counts_[best.pair];
      if (best.count != count) {  // it has changed since
        best.count = count;
        queue_.push(best);
        continue;
      }
      if (count < std::max<int64_t>(1, options_.least_count)) break;
      merge(best);
      if (progress && out_.merges.size() % 64 == 0) progress(std::ssize(out_.tokens));
    }
    return std::move(out_);
  }

 private:
  struct Word {
    size_t begin, length;  // of its symbols, in symbols_
    int64_t count;
  };
  // An entry of the queue: a pair, and the words where it was seen.
  struct Candidate {
    int64_t count;
    Pair pair;
    size_t places;                                  // index into places_
    bool operator<(const Candidate& other) const {  // the largest comes first
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  // The special tokens, then the bytes in the order of their letters. Returns the ids of the bytes.
  std::array<int32_t, 256> add_first_tokens() {
    CHECK(options_.vocabulary >= 256 + std::ssize(options_.special_tokens), "a vocabulary of {}", options_.vocabulary);
    std::vector<std::string> letters;
    for (int byte = 0; byte < 256; ++byte) letters.push_back(letter_of(static_cast<uint8_t>(byte)));
    std::ranges::sort(letters);  // UTF-8 sorts as code points do
    for (const std::string& token : options_.special_tokens) add_token(token, token);
    std::array<int32_t, 256> ids{};
    for (const std::string& letter : letters) {
      const std::string byte = bytes_of_letters(letter).value();
      ids[static_cast<uint8_t>(byte.front())] = add_token(byte, letter);
    }
    return ids;
  }

  // The id of the token; a new one unless there is one of that text. The text is in the byte alphabet.
  int32_t add_token(const std::string& bytes, const std::string& text) {
    const auto [found, is_new] = ids_.try_emplace(text, static_cast<int32_t>(out_.tokens.size()));
    if (is_new) {
      out_.tokens.push_back(bytes);
      texts_.push_back(text);
    }
    return found->second;
  }

  std::span<int32_t> symbols_of(uint32_t word) { return {symbols_.data() + words_[word].begin, words_[word].length}; }

  void add(const Pair& pair, int64_t count, uint32_t word) {
    counts_[pair] += count;
    if (count <= 0) return;
    std::vector<uint32_t>& places = new_places_[pair];
    if (places.empty() || places.back() != word) places.push_back(word);
  }

  void queue_new_pairs() {
    for (auto& [pair, places] : new_places_) {
      if (counts_[pair] <= 0) continue;
      queue_.push({counts_[pair], pair, places_.size()});
      places_.push_back(std::move(places));
    }
    new_places_.clear();
  }

  void merge(const Candidate& best) {
    const auto [left, right] = best.pair;
    const std::string text = texts_[static_cast<size_t>(left)] + texts_[static_cast<size_t>(right)];
    // The bytes are those of the letters: a special token may look like letters, and then takes part in merges.
    const int32_t merged = add_token(bytes_of_letters(text).value(), text);
    out_.merges.push_back({left, right, merged});
    for (const uint32_t word : std::exchange(places_[best.places], {})) merge_in(word, best.pair, merged);
    queue_new_pairs();
  }

  // From left to right; counts change along, also where merged pairs touch each other.
  void merge_in(uint32_t word, const Pair& pair, int32_t merged) {
    const std::span<int32_t> symbols = symbols_of(word);
    const int64_t count = words_[word].count;
    size_t to = 0;
    for (size_t from = 0; from < symbols.size(); ++to) {
      const bool is_pair = from + 1 < symbols.size() && symbols[from] == pair.first && symbols[from + 1] == pair.second;
      if (!is_pair) {
        symbols[to] = symbols[from++];
        continue;
      }
      if (to > 0) {
        add({symbols[to - 1], pair.first}, -count, word);
        add({symbols[to - 1], merged}, count, word);
      }
      from += 2;
      if (from < symbols.size()) {
        add({pair.second, symbols[from]}, -count, word);
        add({merged, symbols[from]}, count, word);
      }
      symbols[to] = merged;
    }
    words_[word].length = to;
  }

  const LearningOptions& options_;
  LearntEncoding out_;
  std::vector<std::string> texts_;                // of out_.tokens
  std::unordered_map<std::string, int32_t> ids_;  // by text
  std::vector<int32_t> symbols_;
  std::vector<Word> words_;
  std::unordered_map<Pair, int64_t, PairHash> counts_;
  std::unordered_map<Pair, std::vector<uint32_t>, PairHash> new_places_;  // since the last merge
  std::vector<std::vector<uint32_t>> places_;
  std::priority_queue<Candidate> queue_;
};

}  // namespace

LearntEncoding learn_merges(const std::vector<WordCount>& words, const LearningOptions& options,
                            const std::function<void(int64_t)>& progress) {
  return Learner(words, options).learn(progress);
}

}  // namespace ropewalk
