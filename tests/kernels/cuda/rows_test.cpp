// What only cuda's row operations refuse.
#include "tests/kernels/mixed_precision/suite.h"

namespace ropewalk {
namespace {

class CudaRows : public FormSuite {};

// A row that is too long to be read without packs, which its alignment rules out.
TEST_P(CudaRows, RefusesALongRowThatIsNotAligned) {
  Operands x(*tested);
  const Tensor row = x.normal("row", {2 * 2056}).slice(1, 2057).reshape({1, 2056});
  const Tensor one = x.poison("one", {1}, Kind::kAccumulator), other = x.poison("other", {1}, Kind::kAccumulator);
  EXPECT_THROW(tested->layer_norm_forward(row, x.normal("w", {1, 2056}), 1e-5, x.poison("y", {1, 2056}), one, other),
               std::logic_error);
}

INSTANTIATE_TEST_SUITE_P(Forms, CudaRows, testing::ValuesIn(forms_under_test()), name_of_form);

}  // namespace
}  // namespace ropewalk
