#include "trainer/tokenizer/unicode_classes.h"

#include <algorithm>
#include <map>

namespace ropewalk {
namespace {

enum class Listed : uint8_t { kLetter, kNumber, kSpace, kNewNumber };  // the last: only for Digits
using enum Listed;
struct Range {
  uint32_t begin, end;
  Listed as;
};
constexpr Range kRanges[] = {
#include "trainer/tokenizer/unicode_ranges.inc"
};

CharacterClass class_of(Listed listed, CharacterClass new_numbers) {
  switch (listed) {
    case kLetter:
      return CharacterClass::kLetter;
    case kNumber:
      return CharacterClass::kNumber;
    case kSpace:
      return CharacterClass::kSpace;
    default:
      return new_numbers;
  }
}

}  // namespace

const CharacterClasses& CharacterClasses::of_regex() {
  static const CharacterClasses classes(CharacterClass::kOther);
  return classes;
}

const CharacterClasses& CharacterClasses::of_digits() {
  static const CharacterClasses classes(CharacterClass::kNumber);
  return classes;
}

CharacterClasses::CharacterClasses(CharacterClass new_numbers) {
  using Block = std::array<CharacterClass, kBlock>;
  std::map<Block, uint16_t> known;
  const Range* range = std::begin(kRanges);
  for (uint32_t begin = 0; begin < kCharacters; begin += kBlock) {
    Block block{};
    for (; range != std::end(kRanges) && range->begin < begin + kBlock; ++range) {
      for (uint32_t c = std::max(begin, range->begin); c < std::min(begin + kBlock, range->end); ++c)
        block[c - begin] = class_of(range->as, new_numbers);
      if (range->end > begin + kBlock) break;  // it goes on in the next block
    }
    const auto [place, is_new] = known.try_emplace(block, static_cast<uint16_t>(known.size()));
    if (is_new) blocks_.insert(blocks_.end(), block.begin(), block.end());
    index_[begin / kBlock] = place->second;
  }
}

uint32_t character_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(text[at + i])); };
  const uint32_t first = byte(0);
  if (first < 0x80) return first;
  if (first < 0xe0) return (first & 0x1f) << 6 | (byte(1) & 0x3f);
  if (first < 0xf0) return (first & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
  return (first & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
}

}  // namespace ropewalk
