// The rules for data.blend and the blends of stages.
#pragma once

#include "trainer/config/problems.h"

namespace ropewalk {

namespace proto {
class Config;
}

// The smallest fraction of the samples that a dataset of a blend may have. The order of a blend repeats its proportions
// in blocks of at least 1 / fraction samples (trainer/data/blended_samples.h).
inline constexpr double kSmallestShare = 1e-6;

// Call after check_fields(), which checks each weight and prefix by itself.
void check_blends(const proto::Config& config, Problems& problems);

}  // namespace ropewalk
