// NCCL, or with ROPEWALK_CUDA_EMULATED an imitation of it between the threads of a process, as kernels/cuda/platform.h
// provides one for CUDA.
#pragma once

#include "kernels/cuda/platform.h"

#ifdef ROPEWALK_CUDA_EMULATED
#include "parallel/cuda/emulation/nccl.h"
#else
#include <nccl.h>
#endif
