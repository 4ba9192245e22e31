#include "tests/equivalence/errors.h"

#include <algorithm>
#include <cmath>

namespace ropewalk {
namespace {

double error_of(const std::vector<double>& actual, const std::vector<double>& exact) {
  double squares = 0, largest = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    squares += (actual[i] - exact[i]) * (actual[i] - exact[i]);
    largest = std::max(largest, std::abs(exact[i]));
  }
  return std::sqrt(squares / static_cast<double>(exact.size())) / largest;
}

bool is_zero(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double value) { return value == 0; });
}

}  // namespace

Errors errors_of(const NaiveWeights& actual, const NaiveWeights& exact) {
  Errors errors;
  int64_t tensors = 0;
  for (const auto& [name, values] : exact) {
    if (is_zero(values)) continue;
    const double error = error_of(actual.at(name), values);
    errors.mean += error;
    errors.worst = std::max(errors.worst, error);
    ++tensors;
  }
  errors.mean /= static_cast<double>(tensors);
  return errors;
}

}  // namespace ropewalk
