// Text to training data: reads documents, encodes them a piece at a time, ends each with end_of_document(), and
// writes PREFIX.bin and PREFIX.idx (indexed_writer.h).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "trainer/data/documents.h"
#include "trainer/tokenizer/tokenizer.h"

namespace ropewalk {

struct PrepareOptions {
  std::vector<std::string> inputs;  // files and folders (list_input_files)
  std::string prefix;               // of the output; nothing is added to it but .bin and .idx
  DocumentOptions documents;
  bool overwrite = false;  // replace PREFIX.bin and PREFIX.idx where they exist
};

struct PrepareProgress {
  int64_t bytes_done = 0, bytes_total = 0;  // of input; total counts regular files only (a pipe's size is unknown)
  int64_t documents = 0, tokens = 0;
  double seconds = 0;  // since the start
};

struct PrepareSummary {
  PrepareProgress done;
  int64_t input_files = 0;
  int64_t vocabulary = 0;            // ids are below this
  std::string token_type;            // in PREFIX.bin: "u16" or "i32"
  LeftOut skipped;                   // lines, with documents.skip_bad_lines
  LeftOut left_out;                  // entries of folders (list_input_files)
  int64_t separators = 0;            // that stood in text files
  LeftOut json_as_text;              // files that were read as text by their extension, and look like JSON lines
  std::vector<std::string> written;  // paths
  bool durable = true;               // false: their file system cannot make names outlive a power cut
};

// Throws ConfigurationError (nothing to read, output that exists or is also an input) or DataError.
// On an exception, also one thrown by `progress` and Interrupted (trainer/files/input_file.h), nothing is written; with
// `overwrite`, one in the last moment, while the files take their names, may have removed the old index. `progress`
// may be empty; it is called about ten times a second, and last before the files take their names.
PrepareSummary prepare(const PrepareOptions& options, const Tokenizer& tokenizer,
                       const std::function<void(const PrepareProgress&)>& progress = {});

}  // namespace ropewalk
