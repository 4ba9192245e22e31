// Attention of rows of queries over rows of keys, merged into the result of earlier calls (Milakov & Gimelshein,
// arXiv 1805.02867; Dao, arXiv 2307.08691). Complex scores work too: no conjugates are taken.
#pragma once

#include <algorithm>
#include <vector>

#include "kernels/attention_mask.h"
#include "kernels/bfloat16.h"
#include "kernels/operations/scalar.h"

namespace ropewalk::operations {

template <typename S>
S dot(int64_t K, const S* a, const S* b) {
  S sum{};
  for (int64_t k = 0; k < K; ++k) sum += a[k] * b[k];
  return sum;
}

// P and dS enter the next product unchanged.
struct AsTheyAre {
  template <typename S>
  S operator()(S x) const {
    return x;
  }
};

// P and dS are rounded to bf16 before the next product, as on a device in bf16.
struct Rounded {
  float operator()(float x) const { return static_cast<float>(BFloat16(x)); }
};

template <typename S, typename Operand = AsTheyAre>
void attention_forward(const AttentionSizes& s, const AttentionMask& mask, const S* q, const S* k, const S* v, S* o,
                       S* lse, Operand operand = {}) {
  using std::exp, std::log;
  const S scale(1 / std::sqrt(static_cast<double>(s.K)));
  std::vector<S> p, sum_pv(static_cast<size_t>(s.K));
  for (int64_t row = 0; row < s.T * s.H; ++row) {
    const Range keys = mask.of_query(row / s.H);
    if (keys.begin >= keys.end) continue;
    const int64_t g = row % s.H / (s.H / s.G);

    S largest = minus_infinity<S>();
    p.clear();
    for (int64_t u = keys.begin; u < keys.end; ++u) {
      p.push_back(scale * dot(s.K, q + row * s.K, k + (u * s.G + g) * s.K));
      if (real_part(p.back()) > real_part(largest)) largest = p.back();
    }
    S sum{};
    std::fill(sum_pv.begin(), sum_pv.end(), S{});
    for (int64_t u = keys.begin; u < keys.end; ++u) {
      const S weight = exp(p[static_cast<size_t>(u - keys.begin)] - largest);
      sum += weight;
      for (int64_t c = 0; c < s.K; ++c) sum_pv[static_cast<size_t>(c)] += operand(weight) * v[(u * s.G + g) * s.K + c];
    }

    // L = log(exp(lse) + exp(lse')),  o = exp(lse - L) o + exp(lse' - L) o';
    // lse' = largest + log(sum),  o' = sum_pv / sum
    const S before = lse[row], piece = largest + log(sum);
    const S base = real_part(before) > real_part(piece) ? before : piece;
    lse[row] = base + log(exp(before - base) + exp(piece - base));
    const bool is_first = before == minus_infinity<S>();  // o may then be anything
    const S keep = exp(before - lse[row]), take = exp(piece - lse[row]) / sum;
    for (int64_t c = 0; c < s.K; ++c) {
      S& out = o[row * s.K + c];
      out = (is_first ? S{} : keep * out) + take * sum_pv[static_cast<size_t>(c)];
    }
  }
}

template <typename S>
void attention_delta(int64_t rows, int64_t K, const S* d_o, const S* o, S* delta) {
  for (int64_t row = 0; row < rows; ++row) delta[row] = dot(K, d_o + row * K, o + row * K);
}

template <typename S, typename Operand = AsTheyAre>
void attention_backward(const AttentionSizes& s, const AttentionMask& mask, const S* q, const S* k, const S* v,
                        const S* d_o, const S* lse, const S* delta, S* dq, S* dk, S* dv, Operand operand = {}) {
  using std::exp;
  const S scale(1 / std::sqrt(static_cast<double>(s.K)));
  for (int64_t row = 0; row < s.T * s.H; ++row) {
    const Range keys = mask.of_query(row / s.H);
    const int64_t g = row % s.H / (s.H / s.G);
    for (int64_t u = keys.begin; u < keys.end; ++u) {
      const int64_t q_at = row * s.K, k_at = (u * s.G + g) * s.K;
      const S p = exp(scale * dot(s.K, q + q_at, k + k_at) - lse[row]);
      const S ds = operand(p * (dot(s.K, d_o + q_at, v + k_at) - delta[row])) * scale;
      for (int64_t c = 0; c < s.K; ++c) {
        dv[k_at + c] += operand(p) * d_o[q_at + c];
        dq[q_at + c] += ds * k[k_at + c];
        dk[k_at + c] += ds * q[q_at + c];
      }
    }
  }
}

}  // namespace ropewalk::operations
