// Stable sort of tokens, by CUB (device/sort.cu) or the standard library (emulation/sort.cpp).
#pragma once

#include "kernels/cuda/runtime.h"

namespace ROPEWALK_CUDA {

struct SortedTokens {
  const int32_t *tokens, *rows;  // [N], in the workspace: tokens in ascending order, and the row where each was
};
SortedTokens sort_tokens(Runtime& runtime, int64_t N, const int32_t* tokens);

}  // namespace ROPEWALK_CUDA
