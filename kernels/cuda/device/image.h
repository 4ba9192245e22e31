#pragma once

namespace ropewalk::cuda {

bool has_image();  // whether kernels of this build can run on this thread's device

}  // namespace ropewalk::cuda
