#include "kernels/host_buffer.h"

#include <cstdlib>

namespace ropewalk {
namespace {

constexpr int64_t kAlignment = 64;

class HostBuffer final : public Buffer {
 public:
  HostBuffer(void* data, int64_t bytes) : Buffer(data, bytes) {}
  ~HostBuffer() override { std::free(data_); }
  HostBuffer(const HostBuffer&) = delete;
  HostBuffer& operator=(const HostBuffer&) = delete;
};

}  // namespace

std::unique_ptr<Buffer> allocate_host(int64_t bytes) {
  CHECK(bytes >= 0, "{} bytes of host memory asked", bytes);
  const size_t padded = (static_cast<size_t>(bytes) / kAlignment + 1) * kAlignment;  // never 0
  void* data = std::aligned_alloc(kAlignment, padded);
  if (data == nullptr)
    throw DeviceError(fmt::format(
        "out of host memory: {} bytes ({:.1f} GiB) were asked. Use fewer tokens, fewer layers or more ranks.", bytes,
        static_cast<double>(bytes) / (1 << 30)));
  return std::make_unique<HostBuffer>(data, bytes);
}

}  // namespace ropewalk
