// NCCL, or with ROPEWALK_CUDA_EMULATED an emulation of it between the threads of a process, as kernels/cuda/platform.h
// provides one of CUDA.
#pragma once

#include "kernels/cuda/platform.h"

#ifdef ROPEWALK_CUDA_EMULATED
#include "parallel/cuda/emulation/nccl.h"
#else
#include <nccl.h>
#endif
