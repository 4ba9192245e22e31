// Functions of the plain loops' scalar type: float, double, or std::complex<double>, with which the tests take
// derivatives by the complex step. To make these derivatives right, the loops compare real parts only and use only
// analytic functions.
#pragma once

#include <cmath>
#include <complex>
#include <limits>

namespace ropewalk::operations {

inline double real_part(double x) { return x; }
inline double real_part(const std::complex<double>& x) { return x.real(); }

template <typename S>
S minus_infinity() {
  return S(-std::numeric_limits<double>::infinity());
}

template <typename S>
bool is_minus_infinity(S x) {
  return real_part(x) == -std::numeric_limits<double>::infinity();
}

}  // namespace ropewalk::operations
