// Writes a Megatron dataset (indexed_format.h) as a stream: memory does not grow with the dataset's tokens. The files
// are written as PREFIX.bin.tmp and PREFIX.idx.tmp, small files beside them (SideFile) likewise. finish() fsyncs them,
// removes the old index, and renames the .bin and the side files, then the .idx; until it has fsynced them, the old
// files stay as they are. So an index, if there is one, belongs to all files beside it. One writer at a time holds a
// prefix, by a lock on PREFIX.lock.tmp; it removes the .tmp files that a killed writer left.
//
// With masked targets it writes PREFIX.targets (targets.h) in the same way; without, finish() removes an old one.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "trainer/data/indexed_format.h"
#include "trainer/data/targets.h"
#include "trainer/files/lock_file.h"
#include "trainer/files/output_file.h"

namespace ropewalk {

// A small file that belongs to a dataset.
struct SideFile {
  std::string extension, contents;  // one of kSideExtensions
};
inline constexpr const char* kSideExtensions[] = {".dataset.json", ".tokenizer.json"};

class IndexedWriter {
 public:
  enum class Targets { kAll, kMasked };
  // Tokens must be below `vocabulary`, which determines their type. A document longer than max_sequence_tokens becomes
  // several sequences. Throws ConfigurationError if another writer holds the prefix, and names that writer.
  IndexedWriter(const std::string& prefix, int64_t vocabulary,
                int64_t max_sequence_tokens = indexed::kMaxSequenceTokens,
                FileSystem& system = real_file_system(FileOwner::kData), Targets targets = Targets::kAll);
  IndexedWriter(const IndexedWriter&) = delete;
  IndexedWriter& operator=(const IndexedWriter&) = delete;

  void append(std::span<const int32_t> tokens);             // to the current document
  void append_targets(const std::vector<bool>& is_target);  // with kMasked: in all, one for each token
  void end_document();
  // Gives all files their final names and replaces files of those names; a symbolic link is itself replaced, not its
  // target. Side files of an earlier dataset that are not among `side_files` are removed. No document may be open.
  void finish(const std::vector<SideFile>& side_files = {});

  bool durable() const { return durable_; }  // after finish(): the names will survive a power cut
  int64_t tokens() const { return tokens_; }
  int64_t documents() const { return documents_; }
  indexed::TokenType token_type() const { return type_; }

 private:
  void end_sequence();
  void write_index();
  void remove_old(const std::string& extension);

  FileSystem& system_;
  std::string prefix_;
  int64_t vocabulary_, max_sequence_tokens_;
  indexed::TokenType type_;
  LockFile lock_;
  NewFile::Leftover leftover_;        // what to do with .tmp files that a killed writer left
  std::optional<NewFile> mask_file_;  // with kMasked
  std::optional<TargetWriter> mask_;
  NewFile data_, index_;          // the index contains only its first array, the lengths, until write_index()
  std::vector<char> data_bytes_;  // tokens not yet written
  std::vector<int32_t> lengths_;  // lengths not yet written
  // Indices of sequences whose document continues in the next sequence. Few, because only documents of more than
  // max_sequence_tokens_ are split.
  std::vector<int64_t> continued_;
  bool durable_ = false;
  int64_t tokens_ = 0, sequences_ = 0, documents_ = 0, sequence_tokens_ = 0;
};

}  // namespace ropewalk
