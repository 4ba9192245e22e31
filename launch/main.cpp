#include "launch/program.h"

int main(int count, char** words) {
  return static_cast<int>(ropewalk::run_program({words + (count > 0 ? 1 : 0), words + count}));
}
