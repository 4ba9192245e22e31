// The input is a safetensors file. It is refused with a CheckpointError, or its tensors cover its data exactly once; a
// header that our writer makes of the same tensors reads as the same tensors.
#include <cstdint>

#include "kernels/error.h"
#include "tests/fuzz/memory_file.h"
#include "trainer/formats/safetensors.h"

namespace ropewalk {
namespace {

void check_cover(const SafetensorsHeader& header, size_t file_bytes) {
  int64_t end = 0;
  for (const SafetensorsEntry& entry : header.entries) {
    CHECK(entry.begin == end && entry.end >= entry.begin, "{} begins at {} after {}", entry.name, entry.begin, end);
    end = entry.end;
  }
  CHECK(header.data_begin + end == static_cast<int64_t>(file_bytes), "the data end at {} + {} of {}", header.data_begin,
        end, file_bytes);
}

// The tensors, if our writer can write them: types that DType has, wider elements first.
std::vector<SafetensorsTensor> writable(const SafetensorsHeader& header) {
  std::vector<SafetensorsTensor> tensors;
  for (const SafetensorsEntry& entry : header.entries) {
    const std::optional<DType> dtype = dtype_of_safetensors(entry.dtype);
    if (!dtype || (!tensors.empty() && size_of(*dtype) > size_of(tensors.back().dtype))) return {};
    tensors.push_back({entry.name, *dtype, entry.shape});
  }
  return tensors;
}

void check_writer(const SafetensorsHeader& header) {
  const std::vector<SafetensorsTensor> tensors = writable(header);
  if (tensors.empty()) return;
  const std::string begin = safetensors_header(tensors, header.metadata);
  const SafetensorsHeader again = parse_safetensors_header(begin.substr(8), header.entries.back().end);
  CHECK(again.metadata == header.metadata && again.entries.size() == header.entries.size(), "other entries");
  // Tensors without bytes have no place among the others, so the order is compared through the names.
  for (const SafetensorsEntry& entry : again.entries) {
    bool found = false;
    for (const SafetensorsEntry& old : header.entries) {
      found |= old.name == entry.name && old.dtype == entry.dtype && old.shape == entry.shape &&
               old.begin == entry.begin && old.end == entry.end;
    }
    CHECK(found, "{} changed", entry.name);
  }
}

}  // namespace
}  // namespace ropewalk

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ropewalk;
  OneFile system({reinterpret_cast<const char*>(data), size});
  try {
    const SafetensorsHeader header = read_safetensors_header(InputFile(system, "model.safetensors"));
    check_cover(header, size);
    check_writer(header);
  } catch (const CheckpointError&) {  // a clear refusal; any other exception is a fault
  }
  return 0;
}
