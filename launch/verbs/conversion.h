// What `import` and `export` share: progress, an orderly stop by a signal, the report at the end.
#pragma once

#include <functional>
#include <string>

#include "kernels/error.h"
#include "trainer/conversion/import_model.h"

namespace ropewalk {

struct Converted {
  std::string summary;  // to print
  bool durable;
};

// Runs the conversion with a progress line named `what`. A signal stops it; then nothing is left of the output.
ExitCode convert(const std::string& what, const std::function<Converted(const BytesDone&)>& conversion);

}  // namespace ropewalk
