// What holds for single fields: which must be set, and the range of each number.
#pragma once

#include <cstdint>
#include <string>

#include "trainer/config/problems.h"

namespace ropewalk {

namespace proto {
class Config;
}

inline constexpr int64_t kMostPositions = (int64_t{1} << 31) - 1;  // positions and tokens are 32-bit integers
inline constexpr double kMostParameters = 1ll << 50;  // times 16 bytes of weights and state: far from 63 bits
inline constexpr double kMostTokens = 1ll << 60;      // of a run: counted in 64 bits

// Notes every field that is missing or out of its range; numbers among them become unreadable.
void check_fields(const proto::Config& config, Problems& problems);

// "must be at least 1 and at most 10000", of a number with such a rule; else "".
std::string range_rule(const std::string& field);

}  // namespace ropewalk
