#include "kernels/cpu/cpu_backend.h"

#include <fmt/core.h>

#include "kernels/cpu/instruction_set.h"

namespace ropewalk {

CpuBackend::CpuBackend(DType dtype, MatrixUnit unit) : dtype_(dtype), unit_(unit) {
  CHECK(dtype == DType::kF32 || dtype == DType::kBF16, "the cpu backend in {}", name_of(dtype));
  const MatrixUnits& here = matrix_units();
  CHECK(unit == MatrixUnit::kVectors || (unit == MatrixUnit::kTiles ? here.tiles : here.dot_products),
        "this process cannot use {}", name_of(unit));
}

Arithmetic CpuBackend::arithmetic() const {
  const std::string precision = precision_of(dtype_);
  if (dtype_ == DType::kF32) return {fmt::format("{} ({})", precision, instruction_set()), ""};
  const std::string units = unit_ == MatrixUnit::kVectors ? fmt::format("in {} ({})", name_of(unit_), instruction_set())
                                                          : fmt::format("on {}", name_of(unit_));
  const std::string& refusal = matrix_units().refusal;
  return {fmt::format("{} {}", precision, units),
          refusal.empty() ? "" : fmt::format("{}: {}", name_of(MatrixUnit::kTiles), refusal)};
}

}  // namespace ropewalk
