// What a full disk does to those who write there.
#pragma once

#include <sys/resource.h>

#include <csignal>
#include <cstdint>

namespace ropewalk {

// While it lives, no file of this process may grow beyond `bytes`: writes come up short, then fail, as on a full disk.
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
