// The cpu backend in bf16: with fp32 vectors, once for every instruction set of this machine, and with each unit that
// multiplies bf16.
#include "tests/kernels/mixed_precision/under_test.h"

#include <hwy/highway.h>

#include <algorithm>

#include "kernels/cpu/cpu_backend.h"
#include "tests/kernels/cpu/instruction_sets.h"

namespace ropewalk {
namespace {

struct Form {
  std::string name;
  MatrixUnit unit;
  int64_t instruction_set;  // 0: the machine's best
};

std::vector<Form> find_forms() {
  std::vector<Form> all;
  for (const int64_t set : instruction_sets()) all.push_back({hwy::TargetName(set), MatrixUnit::kVectors, set});
  const MatrixUnits& units = matrix_units();
  if (units.dot_products) all.push_back({"DotProducts", MatrixUnit::kDotProducts, 0});
  if (units.tiles) all.push_back({"Tiles", MatrixUnit::kTiles, 0});
  return all;
}

// Found once: later, the machine seems to support only the instruction set that is in use.
const std::vector<Form>& forms() {
  static const std::vector<Form> all = find_forms();
  return all;
}

}  // namespace

std::vector<std::string> forms_under_test() {
  std::vector<std::string> names;
  for (const Form& form : forms()) names.push_back(form.name);
  return names;
}
std::vector<std::string> attention_forms_under_test() { return forms_under_test(); }
BackendLimits limits_under_test() { return limits_of(BackendKind::kCpuBF16); }
std::string why_not_under_test(const std::string&) { return {}; }

std::unique_ptr<Kernels> make_under_test(const std::string& name) {
  const auto form = std::find_if(forms().begin(), forms().end(), [&](const Form& f) { return f.name == name; });
  CHECK(form != forms().end(), "form {}", name);
  use_instruction_set(form->instruction_set);
  return std::make_unique<Kernels>(std::make_unique<CpuBackend>(DType::kBF16, form->unit));
}

}  // namespace ropewalk
