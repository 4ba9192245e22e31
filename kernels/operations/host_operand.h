// Operands of the plain loops, as arrays of S (float or double). A tensor of type S is used in place. A bf16 tensor is
// widened into an fp32 copy; an output is rounded back once, when its HostOutput is destroyed. So every loop works in
// mixed precision too. An absent tensor becomes a null pointer.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/tensor.h"

namespace ropewalk::operations {

template <typename S>
class HostOperand {
 public:
  HostOperand(const HostOperand&) = delete;
  HostOperand& operator=(const HostOperand&) = delete;

 protected:
  explicit HostOperand(const Tensor& x) {
    if (x.empty()) return;
    if (std::is_same_v<S, float> && x.dtype() == DType::kBF16) {
      rounded_ = x.data<BFloat16>();
      wide_.resize(static_cast<size_t>(x.elements()));
      std::transform(rounded_, rounded_ + x.elements(), wide_.begin(),
                     [](BFloat16 e) { return static_cast<float>(e); });
    } else {
      data_ = x.data<S>();
    }
  }
  S* data() { return rounded_ ? wide_.data() : data_; }
  void round_back() const {
    if (rounded_)
      std::transform(wide_.begin(), wide_.end(), rounded_, [](S e) { return BFloat16(static_cast<float>(e)); });
  }

 private:
  S* data_ = nullptr;
  BFloat16* rounded_ = nullptr;  // the elements of a bf16 tensor
  std::vector<S> wide_;
};

template <typename S>
class HostInput : HostOperand<S> {
 public:
  explicit HostInput(const Tensor& x) : HostOperand<S>(x) {}
  operator const S*() { return this->data(); }
};

// Also for operands that are both read and written (+= or in place).
template <typename S>
class HostOutput : HostOperand<S> {
 public:
  explicit HostOutput(const Tensor& x) : HostOperand<S>(x) {}
  ~HostOutput() { this->round_back(); }
  operator S*() { return this->data(); }
};

}  // namespace ropewalk::operations
