// How often each pre-token occurs in text: what a byte-pair encoding is learnt from.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "trainer/tokenizer/scanner.h"

namespace ropewalk {

struct WordCount {
  std::string word;
  int64_t count = 0;
  bool operator==(const WordCount&) const = default;
};

// Counts on several threads; the result does not depend on their number. Memory grows with the number of different
// words, not with the text.
class WordCounter {
 public:
  WordCounter(Scanner scanner, int threads);
  ~WordCounter();  // waits for the threads
  WordCounter(const WordCounter&) = delete;
  WordCounter& operator=(const WordCounter&) = delete;

  // The next bytes of a document, which is valid UTF-8; they may be cut anywhere.
  void append(std::string_view piece);
  void end_document();
  std::vector<WordCount> finish();  // sorted by word

 private:
  // Texts of whole documents, or parts of one between which no word lies.
  struct Batch {
    std::string text;
    std::vector<size_t> ends;
  };
  using Counts = std::unordered_map<std::string, int64_t>;

  void close_text();  // what text_ holds becomes a text of the batch
  void hand_over();
  void work(Counts& counts);
  std::optional<Batch> next_batch();

  Scanner scanner_;
  std::string text_;  // of the document, not yet in the batch
  Batch batch_;
  std::mutex mutex_;
  std::condition_variable filled_, taken_;
  std::optional<Batch> waiting_;
  bool done_ = false;
  std::vector<Counts> counts_;  // of each thread
  std::vector<std::thread> threads_;
};

}  // namespace ropewalk
