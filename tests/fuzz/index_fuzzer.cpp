// The input is a model.safetensors.index.json. It is refused with a DataError; or every file that it names is one of
// its own directory, and the index that our writer makes of it reads as the same index.
#include <cstdint>
#include <filesystem>

#include "kernels/error.h"
#include "trainer/conversion/weight_index.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ropewalk;
  WeightMap files;
  try {
    files = parse_weight_index({reinterpret_cast<const char*>(data), size});
  } catch (const DataError&) {  // a clear refusal; any other exception is a fault
    return 0;
  }
  const std::filesystem::path directory = "/models/one";
  for (const auto& [tensor, file] : files) {
    const std::filesystem::path path = directory / file;
    CHECK(path.lexically_normal().parent_path() == directory && path.extension() == ".safetensors" && file[0] != '.' &&
              file.find('\0') == std::string::npos,
          "{} is in {}", tensor, path.string());
  }
  CHECK(!files.empty() && parse_weight_index(weight_index_text(files, 2, 1)) == files, "another index is written");
  return 0;
}
