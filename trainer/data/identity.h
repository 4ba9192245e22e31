// Whether the data behind a prefix are those that a run was trained on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/config/config.h"

namespace ropewalk {

// Of the two files of a dataset: their sizes, and the CRC-32C of a sample of their bytes, which is all of them up to
// 16 MiB, because data can have terabytes. Data that were prepared again from the same text have the same.
struct DataIdentity {
  std::string prefix;
  int64_t index_bytes = 0, token_bytes = 0;
  uint32_t index_crc32c = 0, token_crc32c = 0;
  bool operator==(const DataIdentity&) const = default;
};

// Of every prefix, once. Throws DataError.
std::vector<DataIdentity> identities_of(const std::vector<Stage>& stages);

// A line for each prefix whose data are others than `before`, which a checkpoint after step `step` says; those of a
// stage that had begun by then are a warning. What `before` does not know is not told.
std::vector<std::string> data_changes(const std::vector<DataIdentity>& before, const std::vector<DataIdentity>& now,
                                      const std::vector<Stage>& stages, int64_t step);

}  // namespace ropewalk
