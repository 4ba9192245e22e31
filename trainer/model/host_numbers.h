// The numbers of a tensor on the host, whatever its floating type and device.
#pragma once

#include <vector>

#include "kernels/arena.h"
#include "kernels/kernels.h"

namespace ropewalk {

// Empty on a backend that does not compute.
inline std::vector<double> to_host(const Tensor& x, Kernels& kernels, Arena& arena) {
  ArenaScope scratch(arena);
  const Tensor wide = arena.allocate(DType::kF64, {x.elements()});
  kernels.cast(x.flat(), wide);
  if (!kernels.backend().computes()) return {};
  std::vector<double> out(static_cast<size_t>(x.elements()));
  kernels.download(wide, out.data());
  return out;
}

// x = values, rounded to x's type. Their number is ignored on a backend that does not compute.
inline void from_host(const std::vector<double>& values, const Tensor& x, Kernels& kernels, Arena& arena) {
  ArenaScope scratch(arena);
  const Tensor wide = arena.allocate(DType::kF64, {x.elements()});
  kernels.upload(values.data(), wide);
  kernels.cast(wide, x.flat());
}

}  // namespace ropewalk
