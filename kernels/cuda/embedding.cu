// Lookup in an embedding table whose rows are sharded over ranks.
#include "kernels/cuda/block.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/operand.h"
#include "kernels/cuda/sort.h"
#include "kernels/operations/embedding.h"

namespace ROPEWALK_CUDA {
namespace {

constexpr int kRowsAtOnce = 8;  // whose loads are in flight together

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

// The end of the run of equal tokens that begins at `first`. A galloping search, since most runs are short.
__device__ __forceinline__ int64_t end_of_equal(int64_t N, const int32_t* tokens, int64_t first) {
  int64_t inside = first, step = 1;
  while (inside + step < N && tokens[inside + step] == tokens[first]) {
    inside += step;
    step *= 2;
  }
  int64_t end = inside + step < N ? inside + step : N;
  while (inside + 1 < end) {
    const int64_t middle = (inside + end) / 2;
    if (tokens[middle] == tokens[first])
      inside = middle;
    else
      end = middle;
  }
  return end;
}

// `tokens` are sorted, `rows` is the row where each was. The blocks at the first of a run of equal tokens add the run's
// rows of dx, in ascending order, each block for some of the columns. No two blocks write the same element of dtable.
template <int n>
__global__ void embedding_backward_kernel(int64_t N, int64_t V, int64_t D, const int32_t* tokens, const int32_t* rows,
                                          const Bf16* dx, int64_t v_begin, float* dtable) {
  const int64_t first = blockIdx.x, v = tokens[first] - v_begin;
  if (v < 0 || v >= V || (first > 0 && tokens[first - 1] == tokens[first])) return;
  const int64_t d = (int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * n, end = end_of_equal(N, tokens, first);
  if (d >= D) return;
  Pack<float, n> sum = load<n>(dtable + v * D + d);
  const auto row = [&](int64_t i) { return load<n>(dx + rows[i] * D + d); };
  const auto add = [&](const Pack<Bf16, n>& more) {
    for (int j = 0; j < n; ++j) sum.values[j] += widen(more.values[j]);
  };
  int64_t i = first;
  for (; i + kRowsAtOnce <= end; i += kRowsAtOnce) {
    Pack<Bf16, n> some[kRowsAtOnce];
    ROPEWALK_UNROLL
    for (int j = 0; j < kRowsAtOnce; ++j) some[j] = row(i + j);
    ROPEWALK_UNROLL
    for (int j = 0; j < kRowsAtOnce; ++j) add(some[j]);
  }
  for (; i < end; ++i) add(row(i));
  store(sum, dtable + v * D + d);
}

}  // namespace

void CudaBackend::embedding_forward(const Tensor& tokens, const Tensor& table, int64_t v_begin, const Tensor& x) {
  const auto s = operations::embedding_sizes(tokens, table);
  with_pack<8>(pack_of(s.D, sizeof(Bf16), table.raw(), x.raw()), [&](auto n) {
    launch(runtime_, {blocks_for(s.N * s.D, kThreads * n()), kThreads}, embedding_forward_kernel<n()>, s.N, s.V, s.D,
           at<int32_t>(tokens), at<Bf16>(table), v_begin, at<Bf16>(x));
  });
}

void CudaBackend::embedding_backward(const Tensor& tokens, const Tensor& dx, int64_t v_begin, const Tensor& dtable) {
  const auto s = operations::embedding_sizes(tokens, dtable);
  if (s.N == 0) return;
  const SortedTokens sorted = sort_tokens(runtime_, s.N, at<int32_t>(tokens));
  with_pack<4>(pack_of(s.D, sizeof(float), dx.raw(), dtable.raw()), [&](auto n) {
    launch(runtime_, {s.N, kThreads, blocks_for(s.D, kThreads * n())}, embedding_backward_kernel<n()>, s.N, s.V, s.D,
           sorted.tokens, sorted.rows, at<Bf16>(dx), v_begin, at<float>(dtable));
  });
}

}  // namespace ROPEWALK_CUDA
