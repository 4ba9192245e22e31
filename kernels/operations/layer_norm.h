// Layer norm without bias (Ba et al., arXiv 1607.06450), with M rows of weights: row n uses w[n mod M].
#pragma once

#include <algorithm>

#include "kernels/kernels.h"
#include "kernels/operations/scalar.h"

namespace ropewalk::operations {

struct LayerNormSizes {
  int64_t N, D, M;
};

inline LayerNormSizes layer_norm_sizes(const Tensor& x, const Tensor& w) {
  return {x.extent(0), x.extent(1), w.extent(0)};
}

// y = (x - mean) * rstd * w
template <typename S>
void layer_norm_forward(const LayerNormSizes& s, const S* x, const S* w, double epsilon, S* y, S* mean, S* rstd) {
  using std::sqrt;
  const S D(static_cast<double>(s.D));
  for (int64_t n = 0; n < s.N; ++n) {
    const S *row = x + n * s.D, *weight = w + n % s.M * s.D;
    S sum{}, squares{};
    for (int64_t d = 0; d < s.D; ++d) sum += row[d];
    mean[n] = sum / D;
    for (int64_t d = 0; d < s.D; ++d) squares += (row[d] - mean[n]) * (row[d] - mean[n]);
    rstd[n] = S(1) / sqrt(squares / D + S(epsilon));
    for (int64_t d = 0; d < s.D; ++d) y[n * s.D + d] = (row[d] - mean[n]) * rstd[n] * weight[d];
  }
}

// dx = through + rstd * (g - mean_D(g) - xhat * mean_D(g * xhat)),  g = dy * w;  dw (+)= dy * xhat.  through may be
// null.
template <typename S>
void layer_norm_backward(const LayerNormSizes& s, const S* dy, const S* x, const S* w, const S* mean, const S* rstd,
                         const S* through, S* dx, S* dw, Write write) {
  if (write == Write::kSet) std::fill_n(dw, s.M * s.D, S{});
  const S D(static_cast<double>(s.D));
  for (int64_t n = 0; n < s.N; ++n) {
    const S *dy_row = dy + n * s.D, *row = x + n * s.D, *weight = w + n % s.M * s.D;
    S* dw_row = dw + n % s.M * s.D;
    S mean_g{}, mean_g_xhat{};
    for (int64_t d = 0; d < s.D; ++d) {
      const S xhat = (row[d] - mean[n]) * rstd[n], g = dy_row[d] * weight[d];
      mean_g += g / D;
      mean_g_xhat += g * xhat / D;
    }
    for (int64_t d = 0; d < s.D; ++d) {
      const S xhat = (row[d] - mean[n]) * rstd[n], g = dy_row[d] * weight[d];
      dw_row[d] += dy_row[d] * xhat;  // before dx, which may be dy
      const S residual = through ? through[n * s.D + d] : S{};
      dx[n * s.D + d] = residual + rstd[n] * (g - mean_g - xhat * mean_g_xhat);
    }
  }
}

}  // namespace ropewalk::operations
