#include "tests/kernels/cpu/suite.h"

#include <fmt/core.h>
#include <hwy/highway.h>

#include <limits>
#include <map>

namespace ropewalk {
namespace {

struct Measured {
  double error, bound;
  double share() const { return error == 0 ? 0 : error / bound; }
};

// Keyed by instruction set and result.
std::map<std::pair<std::string, std::string>, Measured>& largest_errors() {
  static std::map<std::pair<std::string, std::string>, Measured> errors;
  return errors;
}

class TellsErrors : public testing::Environment {
 public:
  void TearDown() override {
    fmt::print("largest errors against the reference in fp64\n{:8} {:28} {:>9} {:>9} {:>9}\n", "", "", "error", "bound",
               "fraction");
    for (const auto& [name, e] : largest_errors())
      fmt::print("{:8} {:28} {:9.2e} {:9.2e} {:9.2f}\n", name.first, name.second, e.error, e.bound, e.share());
  }
};
[[maybe_unused]] const testing::Environment* const kTellsErrors = testing::AddGlobalTestEnvironment(new TellsErrors);

}  // namespace

testing::AssertionResult within(const std::string& result, double error, double bound) {
  const Measured now{error, bound};
  Measured& largest =
      largest_errors().try_emplace({hwy::TargetName(hwy::SupportedTargets()), result}, now).first->second;
  if (now.share() > largest.share()) largest = now;
  if (error <= bound) return testing::AssertionSuccess();
  return testing::AssertionFailure() << fmt::format("{} is off by {:.3g}, more than {:.3g}", result, error, bound);
}

double Twin::error() const {
  double largest = 0, difference = 0;
  for (size_t i = 0; i < exact_.size(); ++i) {
    const double off = std::abs(static_cast<double>(fast_[i]) - exact_[i]);
    if (std::isnan(off)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, std::abs(exact_[i]));
    difference = std::max(difference, off);
  }
  return difference == 0 ? 0 : difference / largest;
}

CpuSuite::CpuSuite() { use_instruction_set(GetParam()); }
CpuSuite::~CpuSuite() { use_instruction_set(0); }

void CpuSuite::on_both(const std::function<void(Kernels&, const View&)>& call) {
  call(*cpu, [](Twin& twin) { return twin.fast(); });
  call(*reference, [](Twin& twin) { return twin.exact(); });
}

std::string instruction_set_name(const testing::TestParamInfo<int64_t>& test) { return hwy::TargetName(test.param); }

}  // namespace ropewalk
