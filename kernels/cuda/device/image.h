#pragma once

namespace ropewalk::cuda {

bool has_image();                // whether kernels of this build can run on this thread's device
bool has_hopper_instructions();  // whether the kernels that run on it were built for sm_90a

}  // namespace ropewalk::cuda
