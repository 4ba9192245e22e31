// PTX ISA, "setmaxnreg".
#include <algorithm>

#include "kernels/cuda/emulation/asynchronous.h"

namespace ropewalk::simt {

constexpr int64_t kRegisters = 64 << 10;  // of a multiprocessor, which runs only this block

Registers::Registers(Block& block)
    : block_(block),
      threads_(block.threads(),
               static_cast<int>(std::min<int64_t>(kRegisters / static_cast<int64_t>(block.threads()), 255) / 8 * 8)) {}

void Registers::change(int registers, bool raise) {
  if (registers < 24 || registers > 256 || registers % 8 != 0) block_.fail(fmt::format("{} registers", registers));
  int& mine = threads_[block_.thread()];
  if (raise ? registers < mine : registers > mine)
    block_.fail(fmt::format("registers are {} from {} to {}", raise ? "raised" : "lowered", mine, registers));
  const int64_t more = registers - mine;
  block_.wait_until([this, more] { return more <= free_; });
  free_ -= more;
  mine = registers;
}

}  // namespace ropewalk::simt
