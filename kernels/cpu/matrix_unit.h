// What multiplies bf16 matrices on this processor.
#pragma once

#include <string>

namespace ropewalk {

enum class MatrixUnit {
  kVectors,      // fp32 vectors, on widened operands: every machine
  kDotProducts,  // AVX512-BF16: Intel from Cooper Lake, AMD from Zen 4
  kTiles,        // AMX: Intel from the 4th generation of Xeon
};
const char* name_of(MatrixUnit unit);

// The units of this processor that the system lets this process use, slowest first. The first call asks Linux for
// permission to use tile registers, for all threads of the process.
struct MatrixUnits {
  bool dot_products = false, tiles = false;
  std::string refusal;  // why tiles that the processor has may not be used; empty: they may, or there are none
  MatrixUnit best() const {
    return tiles ? MatrixUnit::kTiles : dot_products ? MatrixUnit::kDotProducts : MatrixUnit::kVectors;
  }
};
const MatrixUnits& matrix_units();

}  // namespace ropewalk
