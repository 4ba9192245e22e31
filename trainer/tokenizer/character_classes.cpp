#include "trainer/tokenizer/character_classes.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "kernels/error.h"
#include "trainer/tokenizer/character_class_runs.h"

namespace ropewalk {
namespace {

std::vector<uint8_t> expand_runs(size_t code_points) {
  std::vector<uint8_t> classes(code_points);
  for (size_t i = 0; i < std::size(kCharacterClassRuns); ++i) {
    const size_t begin = kCharacterClassRuns[i] >> 8;
    const size_t end = i + 1 < std::size(kCharacterClassRuns) ? kCharacterClassRuns[i + 1] >> 8 : code_points;
    std::fill(classes.begin() + static_cast<std::ptrdiff_t>(begin), classes.begin() + static_cast<std::ptrdiff_t>(end),
              static_cast<uint8_t>(kCharacterClassRuns[i] & 0xFF));
  }
  return classes;
}

}  // namespace

CharacterClasses::CharacterClasses() {
  const std::vector<uint8_t> classes = expand_runs(kCodePoints);
  const std::string_view all(reinterpret_cast<const char*>(classes.data()), classes.size());
  std::map<std::string_view, uint8_t> known;
  for (size_t block = 0; block < block_of_.size(); ++block) {
    const std::string_view content = all.substr(block * kBlock, kBlock);
    CHECK(known.size() < 256, "the table has more than 256 different blocks");
    const auto [found, is_new] = known.emplace(content, static_cast<uint8_t>(known.size()));
    if (is_new) blocks_.insert(blocks_.end(), content.begin(), content.end());
    block_of_[block] = found->second;
  }
  std::copy_n(classes.begin(), 128, ascii_.begin());
}

const CharacterClasses& CharacterClasses::get() {
  static const CharacterClasses classes;
  return classes;
}

}  // namespace ropewalk
