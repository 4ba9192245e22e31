// How fast a core of this host is, measured in less than a second: a product and a copy by the backend itself.
#pragma once

#include "kernels/make_kernels.h"
#include "trainer/run/devices.h"

namespace ropewalk {

// The model of a rank on this host's CPU. peak_flops: output.peak_flops, or 0: what a product of the backend reaches,
// divided by the fraction of the peak that products reach (cpu_efficiency). The copy gives the bandwidth, and half of
// it the link between ranks of the host: a message is read and written once.
DeviceModel measure_host(BackendKind backend, double peak_flops);

}  // namespace ropewalk
