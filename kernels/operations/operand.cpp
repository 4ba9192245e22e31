#include "kernels/operations/operand.h"

namespace ropewalk {
namespace {

void check_memory(const Kernels& kernels, const char* name, const Tensor& x) {
  CHECK(x.device() == kernels.device(), "{} is on another device than the backend {}", name, kernels.name());
  CHECK(x.raw() != nullptr || x.elements() == 0, "{} {} has no memory", name, x.shape().text());
}

}  // namespace

void check_operand(const Kernels& kernels, const char* name, const Tensor& x, DType dtype, const Shape& shape) {
  CHECK(x.dtype() == dtype, "{} is {}, not {}", name, name_of(x.dtype()), name_of(dtype));
  CHECK(x.shape() == shape, "{} has the shape {}, not {}", name, x.shape().text(), shape.text());
  check_memory(kernels, name, x);
}

void check_floating(const Kernels& kernels, const char* name, const Tensor& x) {
  const DType dtype = x.dtype();
  CHECK(dtype == DType::kF32 || dtype == DType::kF64 || dtype == DType::kBF16, "{} is {}, not floating", name,
        name_of(dtype));
  check_memory(kernels, name, x);
}

void check_rank(const char* name, const Tensor& x, int rank) {
  CHECK(x.shape().rank() == rank, "{} has the shape {}, not {} axes", name, x.shape().text(), rank);
}

void check_apart(const char* name, const Tensor& output, std::initializer_list<Tensor> inputs, InPlace in_place) {
  const auto* begin = static_cast<const std::byte*>(output.raw());
  for (const Tensor& input : inputs) {
    if (input.bytes() == 0 || output.bytes() == 0) continue;
    const auto* other = static_cast<const std::byte*>(input.raw());
    const bool same = begin == other && output.bytes() == input.bytes();
    const bool apart = begin + output.bytes() <= other || other + input.bytes() <= begin;
    CHECK(apart || (same && in_place == InPlace::kAllowed), "{} overlaps an input", name);
  }
}

}  // namespace ropewalk
