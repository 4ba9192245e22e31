// Makes a communicator of device tensors accept host tensors: arguments are copied to the device before a call, and
// results back after it. So one test suite serves both kinds of tensor.
#pragma once

#include <memory>

#include "kernels/kernels.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

// `device` serves tensors of the kernels' device. The result keeps both alive.
std::shared_ptr<Communicator> make_mirrored(std::shared_ptr<Kernels> kernels, std::shared_ptr<Communicator> device);

}  // namespace ropewalk
