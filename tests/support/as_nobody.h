#pragma once

#include <unistd.h>

#include <cstdlib>

#include "kernels/error.h"

namespace ropewalk {

// While it lives, a process that is root runs with the effective user nobody, so that file permissions apply to it.
// If the process is not root, nothing changes.
class AsNobody {
 public:
  AsNobody() {
    if (::geteuid() != 0) return;
    constexpr uid_t kNobody = 65534;
    CHECK(::seteuid(kNobody) == 0, "cannot become nobody");
    changed_ = true;
  }
  ~AsNobody() {
    if (changed_ && ::seteuid(0) != 0) std::abort();
  }
  AsNobody(const AsNobody&) = delete;
  AsNobody& operator=(const AsNobody&) = delete;

 private:
  bool changed_ = false;
};

}  // namespace ropewalk
