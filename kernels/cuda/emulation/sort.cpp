#include "kernels/cuda/sort.h"

#include <algorithm>
#include <numeric>

namespace ropewalk::cuda_emulated {

SortedTokens sort_tokens(Runtime& runtime, int64_t N, const int32_t* tokens) {
  auto* sorted = static_cast<int32_t*>(runtime.workspace(2 * N * static_cast<int64_t>(sizeof(int32_t))));
  int32_t* rows = sorted + N;
  runtime.stream()->run([=] {
    std::iota(rows, rows + N, 0);
    std::stable_sort(rows, rows + N, [=](int32_t a, int32_t b) { return tokens[a] < tokens[b]; });
    std::transform(rows, rows + N, sorted, [=](int32_t row) { return tokens[row]; });
  });
  return {sorted, rows};
}

}  // namespace ropewalk::cuda_emulated
