// Rows of a table that is split by rows over ranks.
#include "kernels/cuda/block.h"
#include "kernels/cuda/operations.h"
#include "kernels/cuda/sort.h"

namespace ROPEWALK_CUDA {
namespace {

template <int n>
__global__ void embedding_forward_kernel(int64_t N, int64_t V, int64_t D, const int32_t* tokens, const Bf16* table,
                                         int64_t v_begin, Bf16* x) {
  const int64_t i = first_of_thread<n>();
  if (i >= N * D) return;
  const int64_t v = tokens[i / D] - v_begin;
  Pack<Bf16, n> row = {};
  if (0 <= v && v < V) row = load<n>(table + v * D + i % D);
  store(row, x + i);
}

// Tokens in order, `rows` where each was: the block at the first of some equal ones adds all their rows, in the order
// of the rows. No two blocks write one row of the table.
template <int n>
__global__ void embedding_backward_kernel(int64_t N, int64_t V, int64_t D, const int32_t* tokens, const int32_t* rows,
                                          const Bf16* dx, int64_t v_begin, float* dtable) {
  const int64_t first = blockIdx.x, v = tokens[first] - v_begin;
  if (v < 0 || v >= V || (first > 0 && tokens[first - 1] == tokens[first])) return;
  for (int64_t d = int64_t{threadIdx.x} * n; d < D; d += int64_t{blockDim.x} * n) {
    Pack<float, n> sum = load<n>(dtable + v * D + d);
    for (int64_t i = first; i < N && tokens[i] == tokens[first]; ++i) {
      const Pack<Bf16, n> row = load<n>(dx + rows[i] * D + d);
      for (int j = 0; j < n; ++j) sum.values[j] += widen(row.values[j]);
    }
    store(sum, dtable + v * D + d);
  }
}

}  // namespace

void embedding_forward(const Runtime& runtime, int64_t N, int64_t V, int64_t D, const int32_t* tokens,
                       const Bf16* table, int64_t v_begin, Bf16* x) {
  with_pack<8>(pack_of(D, sizeof(Bf16), table, x), [&](auto n) {
    launch(runtime, {blocks_for(N * D, kThreads * n()), kThreads}, embedding_forward_kernel<n()>, N, V, D, tokens,
           table, v_begin, x);
  });
}

void embedding_backward(Runtime& runtime, int64_t N, int64_t V, int64_t D, const int32_t* tokens, const Bf16* dx,
                        int64_t v_begin, float* dtable) {
  if (N == 0) return;
  const SortedTokens sorted = sort_tokens(runtime, N, tokens);
  with_pack<4>(pack_of(D, sizeof(float), dx, dtable), [&](auto n) {
    launch(runtime, {N, kThreads}, embedding_backward_kernel<n()>, N, V, D, sorted.tokens, sorted.rows, dx, v_begin,
           dtable);
  });
}

}  // namespace ROPEWALK_CUDA
