#include "launch/process/inherited.h"
#include "launch/process/memory_return.h"
#include "launch/program.h"

int main(int count, char** words) {
  ropewalk::mend_inheritance();
  ropewalk::return_large_blocks();
  return static_cast<int>(ropewalk::run_program({words + (count > 0 ? 1 : 0), words + count}));
}
