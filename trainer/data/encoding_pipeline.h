// Encodes documents with several threads, and gives their ids to a writer in the order of the documents. The result,
// and the error if there is one, are the same for any number of threads. Memory is bounded by the number of threads,
// also for a document of any length: its text is cut into batches, which share one encoder and so follow one another.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "trainer/data/indexed_writer.h"
#include "trainer/tokenizer/tokenizer.h"

namespace ropewalk {

class EncodingPipeline {
 public:
  struct Options {
    int threads = 1;           // at least 1; 1: the caller's thread encodes, else it only reads and writes
    bool special_ids = false;  // put Tokenizer::special_ids() around each document, before the end of the document
    int32_t end_of_document = 0;
  };
  EncodingPipeline(const Tokenizer& tokenizer, const Options& options, IndexedWriter& writer);
  EncodingPipeline(const EncodingPipeline&) = delete;
  EncodingPipeline& operator=(const EncodingPipeline&) = delete;
  ~EncodingPipeline();  // drops what is not written yet

  // The calls below may throw what the encoder or the writer threw for a document that was added before; a DataError of
  // the encoder names the document and its file.
  void begin_file(const std::string& name);            // of the documents that follow
  void add(std::string_view text, AddedTokens added);  // text of the current document, of any length
  void end_document();
  void finish();  // writes all that was added; nothing if an earlier call has thrown

 private:
  struct Part {
    size_t bytes = 0;
    AddedTokens added = AddedTokens::kRecognize;
    bool begins = false, ends = false;  // the first, the last part of its document
  };
  struct Batch {
    std::string text;
    std::vector<Part> parts;                            // of the text, in order
    std::vector<std::pair<size_t, std::string>> files;  // index of a file's first part, and its name
    int64_t documents_before = 0;                       // that ended before this batch
    std::shared_ptr<Batch> previous;                    // if this batch begins within a document: has its encoder

    bool started = false, done = false;
    // When it is done:
    std::vector<int32_t> ids;
    std::vector<size_t> ends;          // where documents end in `ids`
    std::unique_ptr<Encoder> encoder;  // of the document that continues in the next batch
    std::exception_ptr error;
  };
  // The memory of a batch that is written, for one to come. To return a megabyte to the system, and to get it again,
  // takes as long as to encode bytes.
  struct Buffers {
    std::string text;
    std::vector<int32_t> ids;
  };

  void start_threads();
  void work();
  std::shared_ptr<Batch> startable() const;
  Part& add_part();
  std::shared_ptr<Batch> next_batch();
  void submit();
  void write_front();
  void encode(Batch& batch);
  void encode_parts(Batch& batch);
  void encode_part(const Part& part, std::string_view text, Encoder& encoder, std::vector<int32_t>& ids) const;
  std::unique_ptr<Encoder> idle_encoder();

  const Tokenizer& tokenizer_;
  const Options options_;
  const Tokenizer::Template special_;
  IndexedWriter& writer_;
  std::shared_ptr<Batch> filling_ = std::make_shared<Batch>();
  std::vector<Buffers> spare_;
  std::string file_;
  bool document_open_ = false;
  int64_t documents_ = 0;  // that have ended
  bool failed_ = false;    // a call has thrown, so nothing more is written

  std::mutex mutex_;  // protects what follows, `started` and `done`
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Batch>> batches_;  // submitted and not written
  std::vector<std::unique_ptr<Encoder>> idle_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace ropewalk
