// A backend that computes nothing, for estimates: code runs on it unchanged, with all its calls and allocations, and
// the FLOPs of the calls are counted here. Its memory is addresses that no machine has: whoever reads or
// writes them ends the program. Functions that return a result return 0 or nullopt.
#pragma once

#include "kernels/kernels.h"

namespace ropewalk {

class CountingBackend final : public Backend {
 public:
  explicit CountingBackend(DType dtype) : dtype_(dtype) {}
  const Work& work() const { return work_; }
  const Flops& flops() const { return work_.flops; }

  Device device() const override { return {}; }
  DType dtype() const override { return dtype_; }
  const char* name() const override { return "counting"; }
  bool computes() const override { return false; }
  std::unique_ptr<Buffer> allocate(int64_t bytes) override;
  void upload(const void*, const Tensor&) override {}
  void download(const Tensor& x, void* host) override;
  void synchronize() override {}

  void count(const Work& work) override { work_.add(work, 1); }

 private:
  DType dtype_;
  Work work_;
  uintptr_t next_address_ = uintptr_t{1} << 48;  // beyond the addresses of x86-64 and most others, and never reused
};

}  // namespace ropewalk
