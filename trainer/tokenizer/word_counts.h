// How often each pre-token occurs in text: what a byte-pair encoding is learnt from.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "trainer/tokenizer/pre_tokenizer.h"

namespace ropewalk {

struct WordCount {
  std::string word;
  int64_t count = 0;
  bool operator==(const WordCount&) const = default;
};

// Counts on several threads; the result does not depend on their number. Memory grows with the number of different
// words and with the longest word, not with the text. Time is linear in the length of the text.
class WordCounter {
 public:
  static constexpr size_t kBatchBytes = size_t{1} << 18;

  // pre_tokenizer: of published patterns, so that its splitters do not throw. It must outlive this. batch_bytes: longer
  // documents are split as they come, the others by the threads; at least 1. Counts do not depend on it.
  WordCounter(const PreTokenizer& pre_tokenizer, int threads, size_t batch_bytes = kBatchBytes);
  ~WordCounter();  // waits for the threads
  WordCounter(const WordCounter&) = delete;
  WordCounter& operator=(const WordCounter&) = delete;

  // The next bytes of a document, which is valid UTF-8; they may be cut anywhere.
  void append(std::string_view piece);
  void end_document();
  std::vector<WordCount> finish();  // sorted by word

 private:
  // Whole documents, which a thread splits; or words of a long document, which append() has split, as the end of each
  // word decides where the next begins. It stays where it is, because the words refer to its text.
  struct Batch {
    std::string text;
    std::vector<size_t> ends;  // of the documents
    PreTokens words;
    void clear() {
      text.clear();
      ends.clear();
      words.clear();
    }
  };
  using Counts = std::unordered_map<std::string, int64_t>;

  void split_text(bool ends);  // hands over the words of text_ that no continuation can change
  std::unique_ptr<Batch> hand_over(std::unique_ptr<Batch> batch);  // returns an empty one
  void work(Counts& counts);
  // Takes back a batch that was counted, whose memory is used again. Returns null if there are no more.
  std::unique_ptr<Batch> next_batch(std::unique_ptr<Batch> counted);

  const PreTokenizer& pre_tokenizer_;
  const size_t batch_bytes_;
  std::string text_;                               // of the document, not yet in a batch
  size_t held_back_ = 0;                           // bytes of text_ whose words a continuation may change
  bool is_long_ = false;                           // words of the document were handed over
  std::unique_ptr<Splitter> splitter_;             // of long documents
  std::unique_ptr<Batch> long_words_, documents_;  // the next ones
  std::mutex mutex_;
  std::condition_variable filled_, taken_;
  std::unique_ptr<Batch> waiting_;
  std::vector<std::unique_ptr<Batch>> counted_;
  bool done_ = false;
  std::vector<Counts> counts_;  // of each thread
  std::vector<std::thread> threads_;
};

}  // namespace ropewalk
