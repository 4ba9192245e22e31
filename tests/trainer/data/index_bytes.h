// Datasets as bytes, for tests to build and to corrupt.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ropewalk {

// The bytes of the values, concatenated.
template <typename T>
std::string bytes_of(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

// The .idx of a dataset, field by field.
struct IndexBytes {
  std::string magic = std::string("MMIDIDX\0\0", 9);
  uint64_t version = 1;
  uint8_t type = 8;
  std::vector<int32_t> lengths;
  std::vector<int64_t> offsets, documents;
  std::string text() const {
    return magic + bytes_of<uint64_t>({version}) + bytes_of<uint8_t>({type}) +
           bytes_of<uint64_t>({lengths.size(), documents.size()}) + bytes_of(lengths) + bytes_of(offsets) +
           bytes_of(documents);
  }
};

}  // namespace ropewalk
