#include <algorithm>
#include <array>

#include "kernels/error.h"
#include "trainer/conversion/family.h"
#include "trainer/text/format.h"

namespace ropewalk {

std::span<const ModelFamily* const> model_families() {
  static const std::array<const ModelFamily*, 2> kFamilies = {&cohere2_family(), &cohere_family()};
  return kFamilies;
}

const ModelFamily& family_of_type(const std::string& model_type, const std::string& name) {
  const auto families = model_families();
  const auto found =
      std::ranges::find_if(families, [&](const ModelFamily* family) { return family->model_type == model_type; });
  if (found != families.end()) return **found;
  std::string known;
  for (const ModelFamily* family : families)
    known += fmt::format("{}{}", known.empty() ? "" : " and ", family->model_type);
  throw ConfigurationError(fmt::format("{}: model_type is {}; the known ones are {}", name,
                                       model_type.empty() ? "missing, or no string" : in_quotes(model_type), known));
}

const ModelFamily& family_for(const ModelConfig& model) {
  std::string obstacles;
  for (const ModelFamily* family : model_families()) {
    const std::string obstacle = family->obstacle(model);
    if (obstacle.empty()) return *family;
    obstacles += fmt::format("\n  {}: {}", family->architecture, obstacle);
  }
  throw ConfigurationError("no family of Hugging Face models expresses this model:" + obstacles);
}

}  // namespace ropewalk
