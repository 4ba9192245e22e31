#include "trainer/data/encoding_pipeline.h"

#include <pthread.h>

#include <algorithm>
#include <csignal>
#include <span>

#include "kernels/error.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

// A batch ends with the document in which it reaches kBatchBytes, or within that document at kMostBytes.
constexpr size_t kBatchBytes = size_t{1} << 18, kMostBytes = size_t{1} << 20;
constexpr size_t kBatchParts = size_t{1} << 14;

}  // namespace

EncodingPipeline::EncodingPipeline(const Tokenizer& tokenizer, const Options& options, IndexedWriter& writer)
    : tokenizer_(tokenizer),
      options_(options),
      special_(options.special_ids ? tokenizer.special_ids() : Tokenizer::Template{}),
      writer_(writer) {
  CHECK(options.threads > 0, "{} threads", options.threads);
  if (options.threads > 1) start_threads();
}

EncodingPipeline::~EncodingPipeline() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

// With all signals blocked: a signal must interrupt the thread that reads (input_file.h).
void EncodingPipeline::start_threads() {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  threads_.reserve(static_cast<size_t>(options_.threads));
  for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { work(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// The first batch that can be encoded now; null if there is none.
std::shared_ptr<EncodingPipeline::Batch> EncodingPipeline::startable() const {
  const auto found = std::ranges::find_if(batches_, [](const std::shared_ptr<Batch>& batch) {
    return !batch->started && (!batch->previous || batch->previous->done);
  });
  return found == batches_.end() ? nullptr : *found;
}

void EncodingPipeline::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    std::shared_ptr<Batch> batch;
    changed_.wait(lock, [&] { return stopping_ || (batch = startable()); });
    if (stopping_) return;
    batch->started = true;
    lock.unlock();
    encode(*batch);
    lock.lock();
    batch->done = true;
    changed_.notify_all();
  }
}

void EncodingPipeline::begin_file(const std::string& name) {
  CHECK(!document_open_, "a document has not ended before {}", name);
  file_ = name;
}

EncodingPipeline::Part& EncodingPipeline::add_part() {
  if (filling_->text.size() == kMostBytes || filling_->parts.size() == kBatchParts) submit();
  if (filling_->files.empty() || filling_->files.back().second != file_)
    filling_->files.emplace_back(filling_->parts.size(), file_);
  filling_->parts.push_back({.begins = !document_open_});
  document_open_ = true;
  return filling_->parts.back();
}

void EncodingPipeline::add(std::string_view text, AddedTokens added) {
  while (!text.empty()) {
    Part& part = add_part();
    part.added = added;
    part.bytes = std::min(text.size(), kMostBytes - filling_->text.size());
    filling_->text += text.substr(0, part.bytes);
    text.remove_prefix(part.bytes);
  }
}

void EncodingPipeline::end_document() {
  Part& part = filling_->parts.empty() || !document_open_ ? add_part() : filling_->parts.back();
  part.ends = true;
  document_open_ = false;
  ++documents_;
  if (filling_->text.size() >= kBatchBytes) submit();
}

std::shared_ptr<EncodingPipeline::Batch> EncodingPipeline::next_batch() {
  auto next = std::make_shared<Batch>();
  next->documents_before = documents_;
  if (document_open_) next->previous = filling_;
  if (!spare_.empty()) {
    next->text = std::move(spare_.back().text);
    next->ids = std::move(spare_.back().ids);
    spare_.pop_back();
  }
  return next;
}

// Gives the batch to the threads, and begins the next.
void EncodingPipeline::submit() {
  const std::shared_ptr<Batch> batch = std::exchange(filling_, next_batch());
  const size_t most = options_.threads == 1 ? 0 : 2 * static_cast<size_t>(options_.threads) + 2;
  if (threads_.empty()) {
    encode(*batch);
    batch->started = batch->done = true;
  }
  size_t waiting = 0;
  {
    const std::lock_guard lock(mutex_);
    batches_.push_back(batch);
    waiting = batches_.size();
  }
  changed_.notify_all();
  for (; waiting > most; --waiting) write_front();
}

// Waits for the first batch, and writes it.
void EncodingPipeline::write_front() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return batches_.front()->done; });
  const std::shared_ptr<Batch> batch = std::move(batches_.front());
  batches_.pop_front();
  lock.unlock();
  failed_ = true;  // unless nothing below throws
  if (batch->error) std::rethrow_exception(batch->error);
  size_t begin = 0;
  for (const size_t end : batch->ends) {
    writer_.append(std::span(batch->ids).subspan(begin, end - begin));
    writer_.end_document();
    begin = end;
  }
  writer_.append(std::span(batch->ids).subspan(begin));
  failed_ = false;
  batch->text.clear();
  batch->ids.clear();
  spare_.push_back({std::move(batch->text), std::move(batch->ids)});
}

void EncodingPipeline::finish() {
  if (failed_) return;
  if (!filling_->parts.empty()) submit();
  while (!batches_.empty()) write_front();  // only this thread adds and removes batches
}

void EncodingPipeline::encode(Batch& batch) {
  const std::shared_ptr<Batch> previous = std::move(batch.previous);
  if (previous) {
    batch.error = previous->error;
    batch.encoder = std::move(previous->encoder);
  }
  if (batch.error) return;
  try {
    encode_parts(batch);
  } catch (...) {
    batch.error = std::current_exception();
  }
}

void EncodingPipeline::encode_parts(Batch& batch) {
  if (!batch.encoder) batch.encoder = idle_encoder();
  size_t begin = 0;
  auto file = batch.files.begin();
  for (size_t i = 0; i < batch.parts.size(); ++i) {
    const Part& part = batch.parts[i];
    if (std::next(file) != batch.files.end() && std::next(file)->first == i) ++file;
    try {
      encode_part(part, std::string_view(batch.text).substr(begin, part.bytes), *batch.encoder, batch.ids);
    } catch (const DataError& error) {
      throw DataError(fmt::format("{}: document {} of the output: {}", printable_name(file->second),
                                  batch.documents_before + std::ssize(batch.ends) + 1, error.what()));
    }
    begin += part.bytes;
    if (part.ends) batch.ends.push_back(batch.ids.size());
  }
  if (!batch.parts.back().ends) return;
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(batch.encoder));
}

void EncodingPipeline::encode_part(const Part& part, std::string_view text, Encoder& encoder,
                                   std::vector<int32_t>& ids) const {
  if (part.begins) ids.insert(ids.end(), special_.before.begin(), special_.before.end());
  encoder.append(text, part.added, ids);
  if (!part.ends) return;
  encoder.finish(ids);
  ids.insert(ids.end(), special_.after.begin(), special_.after.end());
  ids.push_back(options_.end_of_document);
}

std::unique_ptr<Encoder> EncodingPipeline::idle_encoder() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<Encoder> encoder = std::move(idle_.back());
      idle_.pop_back();
      return encoder;
    }
  }
  return tokenizer_.make_encoder();
}

}  // namespace ropewalk
