// A device whose memory the host cannot access: its pointers refer to unmapped addresses, which only upload() and
// download() can translate. Code that reads a tensor other than through the kernels crashes.
#pragma once

#include <cstring>

#include "kernels/host_buffer.h"
#include "kernels/kernels.h"

namespace ropewalk {

class FarBackend : public Backend {
 public:
  DType dtype() const override { return DType::kF32; }
  const char* name() const override { return "far"; }
  Device device() const override { return {Device::Kind::kCuda, 0}; }
  std::unique_ptr<Buffer> allocate(int64_t bytes) override { return std::make_unique<FarBuffer>(allocate_host(bytes)); }
  void upload(const void* host, const Tensor& x) override {
    std::memcpy(near(x.raw()), host, static_cast<size_t>(x.bytes()));
  }
  void download(const Tensor& x, void* host) override {
    std::memcpy(host, near(x.raw()), static_cast<size_t>(x.bytes()));
  }
  void synchronize() override {}

 private:
  static constexpr uintptr_t kDistance = uintptr_t{1} << 62;

  class FarBuffer : public Buffer {
   public:
    explicit FarBuffer(std::unique_ptr<Buffer> memory)
        : Buffer(reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(memory->data()) + kDistance), memory->bytes()),
          memory_(std::move(memory)) {}

   private:
    std::unique_ptr<Buffer> memory_;
  };

  static void* near(void* far) { return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(far) - kDistance); }
};

struct FarKernels : Kernels {
  FarKernels() : Kernels(std::make_unique<FarBackend>()) {}
};

}  // namespace ropewalk
