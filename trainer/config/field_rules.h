// Rules for single fields: which fields must be set, and the range of each number.
#pragma once

#include <cstdint>
#include <string>

#include "trainer/config/config.h"
#include "trainer/config/problems.h"

namespace ropewalk {

namespace proto {
class Config;
}

inline constexpr int64_t kMostPositions = (int64_t{1} << 31) - 1;  // positions and tokens are 32-bit integers
// A parameter takes some 16 bytes with its gradient and optimizer state, so 2^50 take some 2^54 bytes, which fits
// int64.
inline constexpr double kMostParameters = 1ll << 50;
inline constexpr double kMostTokens = 1ll << 60;  // consumed by a whole run; int64 counts them

// The elements of all matrices of a model of `layers` layers with the other sizes of `model`, whose own layers are not
// looked at. In floating point, because sizes that each are possible may overflow an integer together.
double matrix_elements_of(const ModelConfig& model, int64_t layers);

// Records every field that is missing or out of range. Also marks the numeric fields among them as
// Problems::unreadable(), so that later rules skip them.
void check_fields(const proto::Config& config, Problems& problems);

// The range of a numeric field: "must be at least 1 and at most 10000"; "" if the field has none.
std::string range_rule(const std::string& field);

}  // namespace ropewalk
