// The base of backends whose memory is host memory.
#pragma once

#include "kernels/kernels.h"

namespace ropewalk {

class HostBackend : public Backend {
 public:
  Device device() const override { return {}; }
  std::unique_ptr<Buffer> allocate(int64_t bytes) override;
  void upload(const void* host, const Tensor& x) override;
  void download(const Tensor& x, void* host) override;
  void synchronize() override {}

 private:
  int64_t allocations_ = 0;
};

}  // namespace ropewalk
