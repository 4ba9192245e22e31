// NCCL, or with ROPEWALK_CUDA_EMULATED its emulation between the threads of a process. (kernels/cuda/platform.h does
// the same for CUDA.)
#pragma once

#include "kernels/cuda/platform.h"

#ifdef ROPEWALK_CUDA_EMULATED
#include "parallel/cuda/emulation/nccl.h"
#else
#include <nccl.h>
#endif
