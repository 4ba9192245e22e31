// Reads a Megatron dataset (indexed_format.h). Opening maps the index into memory and reads only its two ends, whatever
// its size; the rest of the index is checked where it is used, or by check(). read() reads tokens from the file. Safe
// for several threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "trainer/data/indexed_format.h"
#include "trainer/files/input_file.h"

namespace ropewalk {

class IndexedDataset {
 public:
  // Checks the header, the sizes of both files, and both ends of the index. Throws DataError naming the file, the wrong
  // value and a remedy.
  IndexedDataset(const std::string& prefix, int64_t vocabulary,
                 FileSystem& system = real_file_system(FileOwner::kData));

  int64_t tokens() const { return tokens_; }
  int64_t sequences() const { return sequences_; }
  int64_t documents() const { return documents_; }
  indexed::TokenType token_type() const { return token_type_; }

  // Fills `tokens` with the tokens of the .bin from the `begin`-th on, counted from 0. Throws DataError if one is not a
  // whole number in [0, vocabulary).
  void read(int64_t begin, std::span<int32_t> tokens) const;
  // Checks the whole index, then every token. Throws DataError for the first thing that is wrong. Calls `progress`,
  // which may be empty, with the number of tokens checked so far.
  void check(const std::function<void(int64_t tokens)>& progress = {}) const;
  void check_index() const;  // the first half of check()

  // The position of a document's first token; document_begin(documents()) == tokens(). Throws as check_index() if the
  // index contradicts itself there.
  int64_t document_begin(int64_t document) const;
  int64_t document_at(int64_t token) const;  // the document with the token; O(log documents); throws likewise

 private:
  void read_header();
  bool ends_agree() const;
  bool is_sound_at(int64_t document) const;
  void check_sequences() const;
  void check_documents() const;
  void read_raw(int64_t begin, std::vector<std::byte>& bytes) const;  // fills `bytes`; throws as read()
  template <typename T>
  T load(int64_t offset) const;  // from the index; need not be aligned
  int32_t length(int64_t sequence) const;
  int64_t offset(int64_t sequence) const;
  int64_t document_entry(int64_t document) const;

  MappedFile index_;
  InputFile data_;
  std::string index_name_, data_name_;  // printable, for messages
  int64_t vocabulary_, data_bytes_;
  indexed::TokenType token_type_{};
  int64_t token_bytes_ = 0, tokens_ = 0, sequences_ = 0, documents_ = 0;
};

}  // namespace ropewalk
