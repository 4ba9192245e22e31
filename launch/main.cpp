#include <malloc.h>

#include "launch/program.h"

int main(int count, char** words) {
  // Large blocks go back to the system when they are freed. glibc would keep them, and a library's work space that is
  // taken and freed at every product then leaves holes: tens of MiB more than a run needs.
  mallopt(M_MMAP_THRESHOLD, 4 << 20);
  return static_cast<int>(ropewalk::run_program({words + (count > 0 ? 1 : 0), words + count}));
}
