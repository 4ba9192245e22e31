// PTX ISA, "Memory Consistency Model: Proxies", "membar / fence" (fence.proxy.async), "Async Proxy" of wgmma, and
// "setmaxnreg".
#include <cstring>
#include <numeric>

#include "kernels/cuda/emulation/asynchronous.h"

namespace ropewalk::simt {
namespace {

constexpr uint32_t kSystemBytes = 1024;
constexpr int64_t kRegisters = 64 << 10;  // of a multiprocessor; the block has it alone

}  // namespace

uint32_t AsyncView::address(const void* shared) const {
  return static_cast<uint32_t>(static_cast<const unsigned char*>(shared) - block_.shared()) + kSystemBytes;
}

size_t AsyncView::offset(uint32_t address, size_t bytes) const {
  if (address < kSystemBytes || address - kSystemBytes + bytes > seen_.size())
    block_.fail(fmt::format("{} bytes at {} are not in the block's shared memory", bytes, address));
  return address - kSystemBytes;
}

const unsigned char* AsyncView::at(uint32_t address, size_t bytes) const {
  return seen_.data() + offset(address, bytes);
}

void AsyncView::check(const void* shared, size_t bytes, size_t alignment) const {
  const uint32_t to = address(shared);
  if (offset(to, bytes) % alignment != 0)
    block_.fail(fmt::format("{} of shared memory is not a multiple of {} bytes", to, alignment));
}

void AsyncView::write(uint32_t address, const void* from, size_t bytes) {
  const size_t to = offset(address, bytes);
  std::memcpy(block_.shared() + to, from, bytes);
  std::memcpy(seen_.data() + to, from, bytes);
}

void AsyncView::poison(const void* shared, size_t bytes) {
  const size_t to = offset(address(shared), bytes);
  std::memset(block_.shared() + to, kPoison, bytes);
  std::memset(seen_.data() + to, kPoison, bytes);
}

// A fence makes visible what is stored by then: by its thread, and by others that a barrier has put before it. Others
// that have not fenced come later often enough, as the order of threads is drawn.
void AsyncView::publish() { std::memcpy(seen_.data(), block_.shared(), seen_.size()); }

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
