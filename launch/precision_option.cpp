#include "launch/precision_option.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "trainer/text/format.h"

namespace ropewalk {
namespace {

constexpr std::pair<const char*, const char*> kPrecisions[] = {{"fp32", "FP32"}, {"bf16", "BF16"}, {"fp64", "FP64"}};

}  // namespace

Option precision_option(const std::string& otherwise) {
  return {"precision", "fp32|bf16",
          fmt::format("compute in fp32 or in bf16 (mixed precision); fp64 is for parallel.device REFERENCE. Sets "
                      "training.precision. Default: {}",
                      otherwise)};
}

std::vector<std::string> settings_with_precision(const Arguments& arguments) {
  std::vector<std::string> settings = arguments.values("set");
  if (!arguments.has("precision")) return settings;
  const std::string name = arguments.value("precision");
  const auto* const known = std::ranges::find_if(
      kPrecisions, [&](const auto& precision) { return name == precision.first || name == precision.second; });
  if (known == std::end(kPrecisions))
    throw ConfigurationError(fmt::format("--precision {}: must be fp32, bf16 or fp64", printable_text(name)));
  for (const std::string& setting : settings)
    if (setting.starts_with("training.precision=") ||
        (setting.starts_with("training=") && setting.find("precision") != std::string::npos))
      throw ConfigurationError(fmt::format(
          "--set {}: --precision sets training.precision; leave out one of the two options", printable_text(setting)));
  settings.push_back(fmt::format("training.precision={}", known->second));
  return settings;
}

}  // namespace ropewalk
