// Emulates a full disk.
#pragma once

#include <sys/resource.h>

#include <csignal>
#include <cstdint>

namespace ropewalk {

// While this object lives, no file of this process can grow beyond `bytes`: a write is short, the next fails, as on a
// full disk.
class FullDisk {
 public:
  explicit FullDisk(uint64_t bytes) {
    old_handler_ = std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old_limit_);
    rlimit limit = old_limit_;
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &old_limit_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_limit_;
  void (*old_handler_)(int);
};

}  // namespace ropewalk
