#include "tests/support/cuda/under_test.h"

#include "tests/kernels/cuda/forms.h"
#include "tests/kernels/mixed_precision/under_test.h"

namespace ropewalk {

BackendOptions options_of(const std::string& form) {
  for (const auto attention : {AttentionForm::kAutomatic, AttentionForm::kPortable, AttentionForm::kHopper})
    if (form == name_of(attention)) return {.attention = attention};
  CHECK(false, "form {}", form);
  return {};
}

std::vector<std::string> forms_under_test() { return {name_of(AttentionForm::kAutomatic)}; }
std::vector<std::string> attention_forms_under_test() {
  return {name_of(AttentionForm::kPortable), name_of(AttentionForm::kHopper)};
}
BackendLimits limits_under_test() { return limits_of(BackendKind::kCuda); }

std::unique_ptr<Kernels> make_under_test(const std::string& form) { return make_cuda_under_test(options_of(form)); }

std::string why_not_under_test(const std::string& form) {
  const std::string none = why_no_ranks(1, DeviceTransport::kStaged);
  if (!none.empty()) return none;
  return make_under_test(form) ? "" : "this GPU is not a Hopper";
}

}  // namespace ropewalk
