// Ranges for NVIDIA's profilers, by NVTX (device/ranges.cpp).
#pragma once

#include "kernels/cuda/platform.h"
#include "kernels/trace.h"

namespace ROPEWALK_CUDA {

RangeMarker* range_marker();  // null in the emulation, which has no profiler

}  // namespace ROPEWALK_CUDA
