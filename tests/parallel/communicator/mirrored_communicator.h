// A communicator of device tensors behind the interface of host tensors: what a call gives is copied to the device, and
// back what it sets. So one suite serves both.
#pragma once

#include <memory>

#include "kernels/kernels.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

// `device` serves tensors of the kernels' device; the kernels live as long as it does.
std::shared_ptr<Communicator> make_mirrored(std::shared_ptr<Kernels> kernels, std::shared_ptr<Communicator> device);

}  // namespace ropewalk
