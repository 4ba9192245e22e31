#include "launch/verbs/answer_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "kernels/error.h"
#include "launch/process/signals.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

FileSystem& files() { return real_file_system(FileOwner::kData); }

std::string lock_of(const std::string& path) { return path + ".lock.tmp"; }

NewFile::Leftover leftover(const LockFile& lock, const std::string& path) {
  if (lock.state() == LockFile::State::kHeldByAnother)
    throw ConfigurationError(fmt::format("{} is being written by another evaluate ({}); choose another --output",
                                         printable_name(path), lock.holder()));
  return lock.state() == LockFile::State::kHeld ? NewFile::Leftover::kRemove : NewFile::Leftover::kRefuse;
}

}  // namespace

void check_free(const std::string& path, bool overwrite, const std::string& requests) {
  if (path.empty()) throw ConfigurationError("--output '' names no file");
  const std::string name = printable_name(path);
  const PathKind kind = kind_of(path, FileOwner::kData);
  std::error_code error;
  if (kind == PathKind::kDirectory || kind == PathKind::kOther)
    throw ConfigurationError(fmt::format("{} is not a regular file; choose another --output", name));
  if (kind == PathKind::kFile && std::filesystem::equivalent(path, requests, error))
    throw ConfigurationError(fmt::format("{} is the file of requests; choose another --output", name));
  if (kind == PathKind::kFile && !overwrite)
    throw ConfigurationError(fmt::format("{} exists; choose another --output, or replace it by --overwrite", name));
  const std::filesystem::path folder = std::filesystem::absolute(path).parent_path();
  if (access(folder.c_str(), W_OK | X_OK) != 0)
    throw DataError(
        fmt::format("cannot write {}: {}: {}; choose another --output", name, folder.string(), std::strerror(errno)));
}

AnswerFile::AnswerFile(const std::string& path, bool overwrite)
    : path_(path),
      overwrite_(overwrite),
      lock_(lock_of(path), LockFile::AtEnd::kRemoved, files()),
      file_(files(), path, beside(path), leftover(lock_, path)),
      unfinished_({beside(path), lock_of(path)}) {
  if (StopSignals::requested()) UnfinishedFiles::remove();  // the signal came before there was anything to remove
}

AnswerFile::~AnswerFile() {
  if (!unfinished_.release()) file_.stay();  // what has its name by now is another job's
}

void AnswerFile::write(std::span<const ScoringAnswer> answers) {
  std::string lines;
  for (const ScoringAnswer& answer : answers) lines += answer.json() + "\n";
  file_.write(lines);
}

bool AnswerFile::finish() {
  file_.close();
  if (!unfinished_.release()) return false;
  if (!overwrite_ && kind_of(path_, FileOwner::kData) != PathKind::kNone) {
    file_.stay();
    throw ConfigurationError(fmt::format("{} has appeared meanwhile, and is kept; the answers are in {}",
                                         printable_name(path_), printable_name(file_.path().string())));
  }
  file_.take_name();
  return true;
}

}  // namespace ropewalk
