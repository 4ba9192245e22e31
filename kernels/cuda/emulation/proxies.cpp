// PTX ISA, "Memory Consistency Model: Proxies", "membar / fence" (fence.proxy.async), and "Async Proxy" of
// wgmma.
#include <cstring>

#include "kernels/cuda/emulation/asynchronous.h"

namespace ropewalk::simt {
namespace {

constexpr uint32_t kSystemBytes = 1024;

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

// On a device, a fence makes visible what its own thread has stored, and what others have stored before a barrier that
// precedes the fence. Here it publishes the stores of all threads. Threads that do not fence are detected all the same,
// because threads run in random order: often enough they store after the last fence.
void AsyncView::publish() { std::memcpy(seen_.data(), block_.shared(), seen_.size()); }

}  // namespace ropewalk::simt
