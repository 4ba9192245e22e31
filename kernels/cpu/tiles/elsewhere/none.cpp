// On processors without these matrix units nothing calls the functions: matrix_units() has none.
#include "kernels/cpu/tiles/attention.h"
#include "kernels/cpu/tiles/product.h"
#include "kernels/error.h"

namespace ropewalk::tiles {

void product(MatrixUnit, const ProductSizes&, Operand, Operand, Write, BFloat16*, Scratch&) {
  CHECK(false, "no matrix unit");
}
void product(MatrixUnit, const ProductSizes&, Operand, Operand, Write, float*, Scratch&) {
  CHECK(false, "no matrix unit");
}
void attention_forward(MatrixUnit, const AttentionSizes&, const AttentionMask&, const BFloat16*, const BFloat16*,
                       const BFloat16*, float*, float*, Scratch&) {
  CHECK(false, "no matrix unit");
}
void attention_backward(MatrixUnit, const AttentionSizes&, const AttentionMask&, const BFloat16*, const BFloat16*,
                        const BFloat16*, const BFloat16*, const float*, const float*, float*, float*, float*,
                        Scratch&) {
  CHECK(false, "no matrix unit");
}

}  // namespace ropewalk::tiles
