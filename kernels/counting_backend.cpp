#include "kernels/counting_backend.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace ropewalk {
namespace {

class AddressRange final : public Buffer {
 public:
  AddressRange(void* data, int64_t bytes) : Buffer(data, bytes) {}
  ~AddressRange() override { munmap(data_, static_cast<size_t>(bytes_)); }
  AddressRange(const AddressRange&) = delete;
  AddressRange& operator=(const AddressRange&) = delete;
};

}  // namespace

std::unique_ptr<Buffer> CountingBackend::allocate(int64_t bytes) {
  const int64_t size = std::max<int64_t>(bytes, 1);
  void* data = mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED)
    throw DeviceError(fmt::format(
        "the estimate needs one allocation of {} bytes, more than the address space of this machine", bytes));
  return std::make_unique<AddressRange>(data, size);
}

void CountingBackend::download(const Tensor& x, void* host) {
  if (x.bytes() > 0) std::memset(host, 0, static_cast<size_t>(x.bytes()));
}

}  // namespace ropewalk
