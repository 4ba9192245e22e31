// Identifies the data that a run was trained on, to find out on resume whether they changed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/config/config.h"

namespace ropewalk {

// The sizes of a dataset's files, .idx, .bin and .targets (0 if there is none), and the CRC-32C of each: of the whole
// file up to 16 MiB, or else of 256 blocks of 64 KiB spread evenly over it, because files can have terabytes. Preparing
// the same text again gives an equal identity.
struct DataIdentity {
  std::string prefix;
  int64_t index_bytes = 0, token_bytes = 0;
  uint32_t index_crc32c = 0, token_crc32c = 0;
  int64_t target_bytes = 0;
  uint32_t target_crc32c = 0;
  bool operator==(const DataIdentity&) const = default;
};

// One for each prefix of the stages and their blends. Throws DataError.
std::vector<DataIdentity> identities_of(const std::vector<Stage>& stages);

// One line for each prefix whose data changed since the checkpoint of step `step`, which stored `before`. The line
// begins with "warning: " if the first stage with that prefix began before that step. Prefixes that are not in `before`
// are not reported.
std::vector<std::string> data_changes(const std::vector<DataIdentity>& before, const std::vector<DataIdentity>& now,
                                      const std::vector<Stage>& stages, int64_t step);

}  // namespace ropewalk
