#include "trainer/tokenizer/word_counts.h"

#include <algorithm>
#include <utility>

#include "trainer/text/utf8.h"

namespace ropewalk {

WordCounter::WordCounter(const PreTokenizer& pre_tokenizer, int threads, size_t batch_bytes)
    : pre_tokenizer_(pre_tokenizer),
      batch_bytes_(batch_bytes),
      splitter_(pre_tokenizer.make_splitter()),
      long_words_(std::make_unique<Batch>()),
      documents_(std::make_unique<Batch>()),
      counts_(static_cast<size_t>(threads)) {
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
  while (!piece.empty()) {
    // Text that was held back is split again only when it has doubled, so that the time is linear.
    const size_t goal = std::max(batch_bytes_, 2 * held_back_);
    const std::string_view next = piece.substr(0, goal - text_.size());
    text_ += next;
    piece.remove_prefix(next.size());
    if (text_.size() == goal) split_text(false);
  }
}

void WordCounter::end_document() {
  if (is_long_) return split_text(true);
  if (text_.empty()) return;
  documents_->text += text_;
  documents_->ends.push_back(documents_->text.size());
  text_.clear();
  if (documents_->text.size() >= batch_bytes_) documents_ = hand_over(std::move(documents_));
}

void WordCounter::split_text(bool ends) {
  Batch& batch = *long_words_;
  std::swap(batch.text, text_);
  const std::string_view text = batch.text;
  const size_t whole = length_in_whole_characters(text);
  const size_t done = splitter_->split(text.substr(0, whole), {.begins = !is_long_, .ends = ends}, batch.words);
  text_ = text.substr(done);
  held_back_ = text_.size();
  is_long_ = !ends && (is_long_ || done > 0);
  if (!batch.words.pieces.empty()) long_words_ = hand_over(std::move(long_words_));
}

std::unique_ptr<WordCounter::Batch> WordCounter::hand_over(std::unique_ptr<Batch> batch) {
  std::unique_lock lock(mutex_);
  taken_.wait(lock, [this] { return !waiting_; });
  waiting_ = std::move(batch);
  std::unique_ptr<Batch> next;
  if (!counted_.empty()) {
    next = std::move(counted_.back());
    counted_.pop_back();
  }
  lock.unlock();
  filled_.notify_one();
  if (!next) return std::make_unique<Batch>();
  next->clear();
  return next;
}

std::unique_ptr<WordCounter::Batch> WordCounter::next_batch(std::unique_ptr<Batch> counted) {
  std::unique_lock lock(mutex_);
  if (counted) counted_.push_back(std::move(counted));
  filled_.wait(lock, [this] { return waiting_ || done_; });
  std::unique_ptr<Batch> batch = std::move(waiting_);
  lock.unlock();
  taken_.notify_one();
  return batch;
}

void WordCounter::work(Counts& counts) {
  const std::unique_ptr<Splitter> splitter = pre_tokenizer_.make_splitter();
  std::string key;
  const auto count = [&](const PreTokens& words) {
    for (const std::string_view word : words.pieces) {
      key = word;  // keeps its memory
      ++counts[key];
    }
  };
  PreTokens words;
  std::unique_ptr<Batch> batch;
  while ((batch = next_batch(std::move(batch)))) {
    count(batch->words);
    size_t begin = 0;
    for (const size_t end : batch->ends) {
      words.clear();
      splitter->split(std::string_view(batch->text).substr(begin, end - begin), {}, words);
      count(words);
      begin = end;
    }
  }
}

std::vector<WordCount> WordCounter::finish() {
  end_document();
  if (!documents_->ends.empty()) hand_over(std::move(documents_));
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
