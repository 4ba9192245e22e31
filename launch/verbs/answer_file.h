// The output file of `ropewalk evaluate --requests`, which is complete or absent: rank 0 writes it under another name
// (beside(), trainer/files/output_file.h) until the last answer.
#pragma once

#include <span>
#include <string>

#include "trainer/evaluation/scoring.h"
#include "trainer/files/lock_file.h"
#include "trainer/files/output_file.h"

namespace ropewalk {

// Throws ConfigurationError unless an AnswerFile may be written at this path: if something is there, it must be a
// regular file that may be overwritten, and not the file of requests.
void check_free(const std::string& path, bool overwrite, const std::string& requests);

class AnswerFile {
 public:
  // Throws ConfigurationError if another process is writing the file, DataError if it cannot be created.
  explicit AnswerFile(const std::string& path);
  void write(std::span<const ScoringAnswer> answers);  // a line for each
  void finish();                                       // durably; without this, the destructor removes the file

 private:
  LockFile lock_;
  NewFile file_;
};

}  // namespace ropewalk
