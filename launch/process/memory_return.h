// How the C library keeps memory that was freed.
#pragma once

#include <malloc.h>

namespace ropewalk {

// Large blocks go back to the system when they are freed. glibc would keep them, and a library's work space that is
// taken and freed at every product then leaves holes: tens of MiB more than a run needs. Small ones stay at hand.
inline void return_large_blocks() {
  mallopt(M_MMAP_THRESHOLD, 4 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
}

}  // namespace ropewalk
