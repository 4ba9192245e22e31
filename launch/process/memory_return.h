// Settings of glibc's malloc for freed memory.
#pragma once

#include <malloc.h>

namespace ropewalk {

// Returns large blocks to the system when they are freed; small ones stay in malloc's pool. By default glibc raises its
// thresholds and keeps large blocks too. Work space that a library allocates and frees in every matrix product then
// fragments the heap, and a run takes tens of MiB more than it needs.
inline void return_large_blocks() {
  mallopt(M_MMAP_THRESHOLD, 4 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
}

}  // namespace ropewalk
