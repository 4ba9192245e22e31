// Turns text into training data: reads documents, encodes them piece by piece with several threads, ends each with
// end_of_document(), and writes PREFIX.bin, PREFIX.idx (indexed_writer.h) and PREFIX.dataset.json (dataset_facts.h).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "trainer/data/chat_template.h"
#include "trainer/data/documents.h"
#include "trainer/tokenizer/tokenizer.h"

namespace ropewalk {

struct PrepareOptions {
  std::vector<std::string> inputs;  // files and folders (list_input_files)
  std::string prefix;               // of the output files
  DocumentOptions documents = {};
  // Input is conversations (fine_tuning.h), of which only some tokens are targets: PREFIX.targets is written, too.
  std::optional<ChatTemplate> chat_template = std::nullopt;
  bool overwrite = false;       // replace the output files if they exist
  int threads = 1;              // that encode; the output does not depend on it
  bool special_tokens = false;  // put Tokenizer::special_ids() around each document
  // The contents of the tokenizer's file, which PREFIX.tokenizer.json will have; nullopt if it has no file.
  std::optional<std::string> tokenizer_file = std::nullopt;
};

struct PrepareProgress {
  // Of input files, compressed as they are; the total counts regular files only (a pipe's size is unknown).
  int64_t bytes_done = 0, bytes_total = 0;
  int64_t documents = 0, tokens = 0;
  int64_t targets = 0;  // of the tokens; with a template
  double seconds = 0;   // since the start
};

struct PrepareSummary {
  PrepareProgress done;
  int64_t input_files = 0;
  int64_t vocabulary = 0;            // ids are below this
  std::string token_type;            // in PREFIX.bin: "u16" or "i32"
  LeftOut skipped;                   // lines, with documents.skip_bad_lines
  LeftOut left_out;                  // entries of folders (list_input_files)
  int64_t separators = 0;            // found in text files
  LeftOut json_as_text;              // files read as text because of their extension, but they look like JSON lines
  std::vector<std::string> written;  // paths
  bool durable = true;               // false: the file system cannot make their names survive a power cut
};

// Throws ConfigurationError (nothing to read, output that exists or is also an input), DataError, Interrupted
// (trainer/files/input_file.h), or what `progress` throws. After an exception the output is as it was before, unless
// the final renames failed: then the old index may be gone, and the new files may have their names already.
// `progress` may be empty. It is called about ten times a second, and a last time before the final renames.
PrepareSummary prepare(const PrepareOptions& options, const Tokenizer& tokenizer,
                       const std::function<void(const PrepareProgress&)>& progress = {});

}  // namespace ropewalk
