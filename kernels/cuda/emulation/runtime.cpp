#include "kernels/cuda/runtime.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "kernels/error.h"

namespace ropewalk::cuda_emulated {

Runtime::Runtime(int index) : index_(index) {}
Runtime::~Runtime() { std::free(workspace_); }

Device Runtime::device() const { return {}; }
Stream Runtime::stream() const { return stream_; }

// Full of NaNs, as nobody may count on what new memory holds.
void* Runtime::allocate(int64_t bytes) {
  const size_t size = (static_cast<size_t>(std::max<int64_t>(bytes, 1)) + 255) / 256 * 256;
  void* memory = std::aligned_alloc(256, size);
  if (!memory) throw DeviceError(fmt::format("{} bytes for an emulated device", bytes));
  std::memset(memory, 0xff, size);
  return memory;
}

void Runtime::release(void* memory) noexcept { std::free(memory); }

void Runtime::to_device(const void* host, void* device, int64_t bytes) { copy(host, device, bytes); }
void Runtime::to_host(const void* device, void* host, int64_t bytes) { copy(device, host, bytes); }
void Runtime::copy(const void* from, void* to, int64_t bytes) {
  if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}
void Runtime::synchronize() {}

// New for each operation, so that none finds what an earlier one left.
void* Runtime::workspace(int64_t bytes) {
  release(workspace_);
  return workspace_ = allocate(bytes);
}

}  // namespace ropewalk::cuda_emulated
