// The output file of `ropewalk evaluate --requests`, which is complete or absent: rank 0 writes it under another name
// (beside(), trainer/files/output_file.h) until the last answer. If the job ends before that, nothing is left, however
// it ends, unless rank 0 or mpirun is killed (SIGKILL): then the next job removes what is left.
#pragma once

#include <span>
#include <string>

#include "launch/process/unfinished_files.h"
#include "trainer/evaluation/scoring.h"
#include "trainer/files/lock_file.h"
#include "trainer/files/output_file.h"

namespace ropewalk {

// Throws ConfigurationError unless an AnswerFile may be written at this path: if something is there, it must be a
// regular file that may be overwritten, and not the file of requests.
void check_free(const std::string& path, bool overwrite, const std::string& requests);

class AnswerFile {
 public:
  // Throws ConfigurationError if another process is writing the file, DataError if it cannot be created. StopSignals
  // must exist: a signal removes the file.
  AnswerFile(const std::string& path, bool overwrite);
  ~AnswerFile();
  void write(std::span<const ScoringAnswer> answers);  // a line for each
  // Gives the file its name, durably. Without this, the destructor removes it. Returns false if a signal has removed
  // it. Throws ConfigurationError if something has appeared at the path that may not be overwritten; the file then
  // keeps its other name.
  bool finish();

 private:
  std::string path_;
  bool overwrite_;
  LockFile lock_;
  NewFile file_;
  UnfinishedFiles unfinished_;
};

}  // namespace ropewalk
