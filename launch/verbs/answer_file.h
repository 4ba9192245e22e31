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
  AnswerFile(const std::string& path, bool overwrite);
  void write(std::span<const ScoringAnswer> answers);  // a line for each
  // Gives the file its name, durably. Without this, the destructor removes it. Throws ConfigurationError if something
  // has appeared at the path that may not be overwritten; the file then keeps its other name.
  void finish();

 private:
  std::string path_;
  bool overwrite_;
  LockFile lock_;
  NewFile file_;
};

}  // namespace ropewalk
