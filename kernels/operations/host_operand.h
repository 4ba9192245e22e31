// Operands of the plain loops, as numbers of type S, float or double. A tensor of S is what it is. A bf16 tensor is
// widened into a copy in fp32, and an output is rounded once, when its view ends: so every loop works in mixed
// precision too. An absent tensor is null.
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
  BFloat16* rounded_ = nullptr;  // of a bf16 tensor
  std::vector<S> wide_;
};

template <typename S>
class HostInput : HostOperand<S> {
 public:
  explicit HostInput(const Tensor& x) : HostOperand<S>(x) {}
  operator const S*() { return this->data(); }
};

// Also of what is read and written, as by += or in place.
template <typename S>
class HostOutput : HostOperand<S> {
 public:
  explicit HostOutput(const Tensor& x) : HostOperand<S>(x) {}
  ~HostOutput() { this->round_back(); }
  operator S*() { return this->data(); }
};

}  // namespace ropewalk::operations
