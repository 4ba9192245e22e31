// Writes a Megatron dataset (indexed_format.h) as a stream: memory does not grow with it. The files are written beside
// their names (.tmp), fsynced, and renamed by finish(), the .bin first; until then nothing is under the final names but
// what was there. One writer at a time holds a prefix, by a lock on PREFIX.lock.tmp, and removes what a writer that was
// killed has left.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "trainer/data/indexed_format.h"
#include "trainer/files/lock_file.h"
#include "trainer/files/output_file.h"

namespace ropewalk {

class IndexedWriter {
 public:
  // Tokens are below `vocabulary`, which chooses their type. A document longer than max_sequence_tokens becomes several
  // sequences. Throws ConfigurationError where another writer holds the prefix, and names it.
  IndexedWriter(const std::string& prefix, int64_t vocabulary,
                int64_t max_sequence_tokens = indexed::kMaxSequenceTokens,
                FileSystem& system = real_file_system(FileOwner::kData));
  IndexedWriter(const IndexedWriter&) = delete;
  IndexedWriter& operator=(const IndexedWriter&) = delete;

  void append(std::span<const int32_t> tokens);  // to the document that is open
  void end_document();
  // Puts both files under their names, in place of what is there (of a link, not of what it leads to). No document may
  // be open.
  void finish();

  bool durable() const { return durable_; }  // after finish(): the names outlive a power cut
  int64_t tokens() const { return tokens_; }
  int64_t documents() const { return documents_; }
  indexed::TokenType token_type() const { return type_; }

 private:
  void end_sequence();
  void write_index();

  FileSystem& system_;
  std::string prefix_;
  int64_t vocabulary_, max_sequence_tokens_;
  indexed::TokenType type_;
  LockFile lock_;
  NewFile data_, index_;  // the index holds the lengths, the first of its arrays, until write_index() completes it
  std::vector<char> data_bytes_;    // tokens on their way to the file
  std::vector<int32_t> lengths_;    // likewise
  std::vector<int64_t> continued_;  // sequences whose document goes on in the next: few, as sequences are long
  bool durable_ = false;
  int64_t tokens_ = 0, sequences_ = 0, documents_ = 0, sequence_tokens_ = 0;
};

}  // namespace ropewalk
