// Measures the speed of a core of this host: times a matrix product, attention and a copy with the backend's kernels,
// in about a second.
#pragma once

#include "kernels/make_kernels.h"
#include "trainer/run/devices.h"

namespace ropewalk {

// The model of a rank on this host's CPU, with the backend's precision. peak_flops: the peak, from output.peak_flops.
// If it is 0, a matrix product is timed, and the peak is its FLOP/s / cpu_efficiency().products; in bf16 attention is
// timed too, because its fraction of the peak depends on the processor's matrix unit. The copy gives the memory
// bandwidth. The link within the host has half of that bandwidth, because each byte of a message is read once and
// written once.
DeviceModel measure_host(BackendKind backend, double peak_flops);

}  // namespace ropewalk
