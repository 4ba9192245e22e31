#include "kernels/cpu/cpu_backend.h"

namespace ropewalk {

CpuBackend::CpuBackend(DType dtype, MatrixUnit unit) : dtype_(dtype), unit_(unit) {
  CHECK(dtype == DType::kF32 || dtype == DType::kBF16, "the cpu backend in {}", name_of(dtype));
  const MatrixUnits& here = matrix_units();
  CHECK(unit == MatrixUnit::kVectors || (unit == MatrixUnit::kTiles ? here.tiles : here.dot_products),
        "this process cannot use {}", name_of(unit));
}

}  // namespace ropewalk
