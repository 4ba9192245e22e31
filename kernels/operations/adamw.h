// AdamW (Loshchilov & Hutter, arXiv 1711.05101): decoupled weight decay.
#pragma once

#include "kernels/kernels.h"
#include "kernels/operations/scalar.h"

namespace ropewalk::operations {

// The bias corrections of one step, in fp64; the loops round them to their type.
struct AdamWFactors {
  explicit AdamWFactors(const AdamWStep& step)
      : first(1 / (1 - std::pow(step.beta1, static_cast<double>(step.step)))),
        second(1 / (1 - std::pow(step.beta2, static_cast<double>(step.step)))) {}
  double first, second;  // mhat = first * m,  vhat = second * v
};

template <typename S>
void adamw(int64_t count, S* w, const S* g, S* m, S* v, const AdamWStep& step) {
  using std::sqrt;
  const AdamWFactors correct(step);
  const S beta1(step.beta1), rest1(1 - step.beta1), beta2(step.beta2), rest2(1 - step.beta2);
  for (int64_t i = 0; i < count; ++i) {
    const S gradient = S(step.gradient_scale) * g[i];
    m[i] = beta1 * m[i] + rest1 * gradient;
    v[i] = beta2 * v[i] + rest2 * gradient * gradient;
    const S mhat = S(correct.first) * m[i], vhat = S(correct.second) * v[i];
    w[i] -= S(step.rate) * (mhat / (sqrt(vhat) + S(step.epsilon)) + S(step.weight_decay) * w[i]);
  }
}

}  // namespace ropewalk::operations
