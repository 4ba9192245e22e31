// Tokens in order, equal ones in the order of their rows: by CUB (device/sort.cu) or the standard library
// (emulation/sort.cpp).
#pragma once

#include "kernels/cuda/runtime.h"

namespace ROPEWALK_CUDA {

struct SortedTokens {
  const int32_t *tokens, *rows;  // [N], in the workspace
};
SortedTokens sort_tokens(Runtime& runtime, int64_t N, const int32_t* tokens);

}  // namespace ROPEWALK_CUDA
