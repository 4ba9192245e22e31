#include "kernels/host_backend.h"

#include "kernels/host_buffer.h"
#include "kernels/operations/elementwise.h"

namespace ropewalk {
std::unique_ptr<Buffer> HostBackend::allocate(int64_t bytes) { return allocate_host(bytes, allocations_++); }
void HostBackend::upload(const void* host, const Tensor& x) { operations::copy_bytes(host, x.raw(), x.bytes()); }
void HostBackend::download(const Tensor& x, void* host) { operations::copy_bytes(x.raw(), host, x.bytes()); }

}  // namespace ropewalk
