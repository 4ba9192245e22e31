// The forms of the cuda backend that mixed_precision/ tests: those of attention, by name.
#pragma once

#include "kernels/make_kernels.h"

namespace ropewalk {

BackendOptions options_of(const std::string& form);

}  // namespace ropewalk
