// On processors without these matrix units nothing calls the functions: matrix_units() has none.
#include "kernels/cpu/tiles/attention.h"
#include "kernels/cpu/tiles/product.h"
#include "kernels/error.h"

namespace ropewalk::tiles {

void product(MatrixUnit, const Matrix&, const Matrix&, Write, const Tensor&, Scratch&) {
  CHECK(false, "no matrix unit");
}
void attention_forward(MatrixUnit, const AttentionSizes&, const AttentionMask&, const Tensor&, const Tensor&,
                       const Tensor&, const Tensor&, const Tensor&, Scratch&) {
  CHECK(false, "no matrix unit");
}
void attention_backward(MatrixUnit, const AttentionSizes&, const AttentionMask&, const Tensor&, const Tensor&,
                        const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                        const Tensor&, Scratch&) {
  CHECK(false, "no matrix unit");
}

}  // namespace ropewalk::tiles
