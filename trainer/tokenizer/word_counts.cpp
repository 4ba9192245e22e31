#include "trainer/tokenizer/word_counts.h"

#include <algorithm>
#include <utility>

namespace ropewalk {
namespace {

constexpr size_t kBatchBytes = size_t{1} << 20;

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// A place where every scanner ends a piece, whatever surrounds it: before a space between two letters. 0 if there is
// none.
size_t last_cut(std::string_view text) {
  for (size_t at = text.rfind(' '); at != text.npos && at > 0; at = text.rfind(' ', at - 1))
    if (at + 1 < text.size() && is_letter(text[at - 1]) && is_letter(text[at + 1])) return at;
  return 0;
}

}  // namespace

WordCounter::WordCounter(Scanner scanner, int threads) : scanner_(scanner), counts_(static_cast<size_t>(threads)) {
  for (Counts& counts : counts_) threads_.emplace_back([this, &counts] { work(counts); });
}

WordCounter::~WordCounter() {
  {
    const std::scoped_lock lock(mutex_);
    done_ = true;
  }
  filled_.notify_all();
  for (std::thread& thread : threads_)
    if (thread.joinable()) thread.join();
}

void WordCounter::append(std::string_view piece) {
  text_ += piece;
  if (text_.size() < kBatchBytes) return;
  const size_t cut = last_cut(text_);
  if (cut == 0) return;
  std::string rest = text_.substr(cut);
  text_.resize(cut);
  close_text();
  text_ = std::move(rest);
}

void WordCounter::end_document() { close_text(); }

void WordCounter::close_text() {
  if (text_.empty()) return;
  batch_.text += text_;
  batch_.ends.push_back(batch_.text.size());
  text_.clear();
  if (batch_.text.size() >= kBatchBytes) hand_over();
}

void WordCounter::hand_over() {
  std::unique_lock lock(mutex_);
  taken_.wait(lock, [this] { return !waiting_; });
  waiting_ = std::exchange(batch_, {});
  lock.unlock();
  filled_.notify_one();
}

std::optional<WordCounter::Batch> WordCounter::next_batch() {
  std::unique_lock lock(mutex_);
  filled_.wait(lock, [this] { return waiting_ || done_; });
  std::optional<Batch> batch = std::exchange(waiting_, std::nullopt);
  lock.unlock();
  taken_.notify_one();
  return batch;
}

void WordCounter::work(Counts& counts) {
  std::vector<std::string_view> words;
  std::string word;
  while (const std::optional<Batch> batch = next_batch()) {
    size_t begin = 0;
    for (const size_t end : batch->ends) {
      words.clear();
      scan(scanner_, std::string_view(batch->text).substr(begin, end - begin), true, words);
      for (const std::string_view piece : words) {
        word = piece;  // keeps its memory
        ++counts[word];
      }
      begin = end;
    }
  }
}

std::vector<WordCount> WordCounter::finish() {
  close_text();
  if (!batch_.ends.empty()) hand_over();
  {
    const std::scoped_lock lock(mutex_);
    done_ = true;
  }
  filled_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  Counts total = std::move(counts_.front());
  for (size_t i = 1; i < counts_.size(); ++i)
    for (const auto& [word, count] : counts_[i]) total[word] += count;
  std::vector<WordCount> out;
  out.reserve(total.size());
  while (!total.empty()) {
    auto node = total.extract(total.begin());
    out.push_back({std::move(node.key()), node.mapped()});
  }
  std::ranges::sort(out, {}, &WordCount::word);
  return out;
}

}  // namespace ropewalk
