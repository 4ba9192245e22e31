#include "launch/process/unfinished_files.h"

#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "kernels/error.h"

namespace ropewalk {
namespace {

// A signal handler can access static storage only, and of atomic objects only those without a lock.
std::atomic<UnfinishedFiles*> current = nullptr;
static_assert(std::atomic<UnfinishedFiles*>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

}  // namespace

UnfinishedFiles::UnfinishedFiles(std::vector<std::string> paths) : paths_(std::move(paths)) {
  UnfinishedFiles* none = nullptr;
  CHECK(current.compare_exchange_strong(none, this), "two UnfinishedFiles in one process");
}

UnfinishedFiles::~UnfinishedFiles() { release(); }

bool UnfinishedFiles::release() {
  UnfinishedFiles* mine = this;
  released_ = released_ || current.compare_exchange_strong(mine, nullptr);
  while (!released_ && !removed_) sched_yield();  // another thread is removing them
  return released_;
}

void UnfinishedFiles::remove() {
  UnfinishedFiles* const files = current.exchange(nullptr);
  if (!files) return;
  const int error = errno;
  for (const std::string& path : files->paths_) unlink(path.c_str());
  errno = error;
  files->removed_ = true;
}

}  // namespace ropewalk
