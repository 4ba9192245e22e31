#include "kernels/host_backend.h"

#include <cstring>

#include "kernels/host_buffer.h"

namespace ropewalk {
namespace {

void copy_bytes(const void* from, void* to, int64_t bytes) {
  if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}

}  // namespace

std::unique_ptr<Buffer> HostBackend::allocate(int64_t bytes) { return allocate_host(bytes, allocations_++); }
void HostBackend::upload(const void* host, const Tensor& x) { copy_bytes(host, x.raw(), x.bytes()); }
void HostBackend::download(const Tensor& x, void* host) { copy_bytes(x.raw(), host, x.bytes()); }

}  // namespace ropewalk
