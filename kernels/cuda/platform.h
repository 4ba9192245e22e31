// The language of device code: CUDA where nvcc compiles it; with ROPEWALK_CUDA_EMULATED, an emulation of CUDA's
// execution model on the host (emulation/). So every kernel of this folder also runs, and is tested, on machines
// without a GPU. The two have different namespaces, since one program may contain both.
#pragma once

#ifdef ROPEWALK_CUDA_EMULATED
#include "kernels/cuda/emulation/simt.h"
#include "kernels/cuda/emulation/streams.h"
#define ROPEWALK_CUDA ropewalk::cuda_emulated
#define ROPEWALK_UNROLL
#else
#include <cuda_runtime.h>
#define ROPEWALK_CUDA ropewalk::cuda
#define ROPEWALK_UNROLL _Pragma("unroll")
#endif
