// The embedding: rows of a table that is split by rows over ranks.
#pragma once

#include "kernels/operations/scalar.h"
#include "kernels/tensor.h"

namespace ropewalk::operations {

struct EmbeddingSizes {
  int64_t N, V, D;
};

// `table` is the table or its gradient.
inline EmbeddingSizes embedding_sizes(const Tensor& tokens, const Tensor& table) {
  return {tokens.extent(0), table.extent(0), table.extent(1)};
}

// x[n] = table[tokens[n] - v_begin], or 0 where another rank holds the token's row
template <typename S>
void embedding_forward(const EmbeddingSizes& s, const int32_t* tokens, const S* table, int64_t v_begin, S* x) {
  for (int64_t n = 0; n < s.N; ++n) {
    const int64_t v = tokens[n] - v_begin;
    const bool mine = 0 <= v && v < s.V;
    for (int64_t d = 0; d < s.D; ++d) x[n * s.D + d] = mine ? table[v * s.D + d] : S{};
  }
}

// dtable[tokens[n] - v_begin] += dx[n]
template <typename S>
void embedding_backward(const EmbeddingSizes& s, const int32_t* tokens, const S* dx, int64_t v_begin, S* dtable) {
  for (int64_t n = 0; n < s.N; ++n) {
    const int64_t v = tokens[n] - v_begin;
    if (v < 0 || v >= s.V) continue;
    for (int64_t d = 0; d < s.D; ++d) dtable[v * s.D + d] += dx[n * s.D + d];
  }
}

}  // namespace ropewalk::operations
