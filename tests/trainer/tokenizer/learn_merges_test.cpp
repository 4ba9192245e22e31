// Learnt merges against a plain implementation that counts every pair anew before each merge.
#include "trainer/tokenizer/learn_merges.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "kernels/error.h"
#include "kernels/random.h"
#include "trainer/tokenizer/bpe_tokenizer.h"
#include "trainer/tokenizer/byte_alphabet.h"
#include "trainer/tokenizer/write_tokenizer.h"

namespace ropewalk {
namespace {

const std::vector<PreTokenizerStep> kSteps = {{.kind = PreTokenizerStep::Kind::kByteLevel, .pattern = ""}};

std::vector<WordCount> random_words(const RandomStream& random, size_t count) {
  std::map<std::string, int64_t> words;
  for (uint64_t i = 0; i < count; ++i) {
    std::string word = random.bits(i)[0] % 3 == 0 ? " " : "";
    const uint64_t length = 1 + random.bits(i)[1] % 9;
    for (uint64_t at = 0; at < length; ++at) word += static_cast<char>('a' + random.bits(1000 * (i + 1) + at)[0] % 3);
    words[word] += static_cast<int64_t>(1 + random.bits(i)[2] % 5);
  }
  std::vector<WordCount> out;
  for (const auto& [word, times] : words) out.push_back({word, times});
  return out;
}

// The texts of the tokens, in the byte alphabet, and the pairs of texts that were merged.
struct Plain {
  std::vector<std::string> tokens;
  std::vector<std::pair<std::string, std::string>> merges;
  bool operator==(const Plain&) const = default;
};

class PlainLearner {
 public:
  PlainLearner(const std::vector<WordCount>& words, const LearningOptions& options) {
    for (const std::string& token : options.special_tokens) id_of(token);
    std::vector<std::string> letters;
    for (int byte = 0; byte < 256; ++byte) letters.push_back(letter_of(static_cast<uint8_t>(byte)));
    std::ranges::sort(letters);
    for (const std::string& letter : letters) id_of(letter);
    for (const WordCount& word : words) {
      std::vector<int32_t> symbols;
      for (const char byte : word.word) symbols.push_back(id_of(letter_of(static_cast<uint8_t>(byte))));
      words_.emplace_back(symbols, word.count);
    }
    while (std::ssize(out_.tokens) < options.vocabulary && merge_once(std::max<int64_t>(1, options.least_count))) {
    }
  }

  Plain out() const { return out_; }

 private:
  int32_t id_of(const std::string& text) {
    const auto found = std::ranges::find(out_.tokens, text);
    if (found == out_.tokens.end()) return out_.tokens.push_back(text), static_cast<int32_t>(out_.tokens.size() - 1);
    return static_cast<int32_t>(found - out_.tokens.begin());
  }

  bool merge_once(int64_t least) {
    std::map<std::pair<int32_t, int32_t>, int64_t> counts;  // in the order of ids: the first of equal ones is taken
    for (const auto& [symbols, count] : words_)
      for (size_t i = 0; i + 1 < symbols.size(); ++i) counts[{symbols[i], symbols[i + 1]}] += count;
    const auto best = std::ranges::max_element(counts, {}, [](const auto& entry) { return entry.second; });
    if (best == counts.end() || best->second < least) return false;
    const auto [left, right] = best->first;
    out_.merges.emplace_back(out_.tokens[static_cast<size_t>(left)], out_.tokens[static_cast<size_t>(right)]);
    const int32_t merged = id_of(out_.merges.back().first + out_.merges.back().second);
    for (auto& [symbols, count] : words_)
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        if (symbols[i] != left || symbols[i + 1] != right) continue;
        symbols[i] = merged;
        symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      }
    return true;
  }

  std::vector<std::pair<std::vector<int32_t>, int64_t>> words_;
  Plain out_;
};

Plain learnt(const std::vector<WordCount>& words, const LearningOptions& options) {
  const LearntEncoding encoding = learn_merges(words, options);
  Plain out;
  for (size_t id = 0; id < encoding.tokens.size(); ++id)
    out.tokens.push_back(id < options.special_tokens.size() ? encoding.tokens[id]
                                                            : letters_of_bytes(encoding.tokens[id]));
  const auto text = [&](int32_t id) { return out.tokens[static_cast<size_t>(id)]; };
  for (const Merge& merge : encoding.merges) {
    out.merges.emplace_back(text(merge.left), text(merge.right));
    EXPECT_EQ(text(merge.merged), text(merge.left) + text(merge.right));
  }
  return out;
}

TEST(LearnMerges, EqualAPlainImplementation) {
  // \u0120 is the letter of a space; "a" and "ab" are a letter and a text that merges make.
  const std::vector<std::vector<std::string>> specials = {{"<s>"}, {"a", "<s>"}, {"ab", "\u0120"}, {"\u0120a", "b"}};
  const RandomStream random(11, "options");
  for (uint64_t trial = 0; trial < 24; ++trial) {
    const std::vector<WordCount> words =
        random_words(RandomStream(11, fmt::format("trial {}", trial)), 1 + random.bits(trial)[0] % 120);
    const LearningOptions options = {.special_tokens = specials[trial % specials.size()],
                                     .vocabulary = 258 + static_cast<int64_t>(random.bits(trial)[1] % 120),
                                     .least_count = static_cast<int64_t>(random.bits(trial)[2] % 6)};
    const Plain found = learnt(words, options), expected = PlainLearner(words, options).out();
    EXPECT_EQ(found.tokens, expected.tokens) << "trial " << trial;
    EXPECT_EQ(found.merges, expected.merges) << "trial " << trial;
  }
}

// A special token that looks like letters takes part in merges; what is written must load.
TEST(LearnMerges, SpecialTokensThatLookLikeLettersGiveATokenizer) {
  for (const std::string& special : std::vector<std::string>{"\u0120", "\u0120a", "\u00e9", "\u00c3\u00a9", "a"}) {
    const LearningOptions options = {.special_tokens = {"<s>", special}, .vocabulary = 270, .least_count = 0};
    const std::string text = "  aab  aab a\u00e9\u00e9 a\u00e9\u00e9";
    const LearntEncoding encoding = learn_merges({{"  aab", 9}, {" a\u00e9\u00e9", 7}, {"\u00e9\u00e9", 5}}, options);
    const TokenizerFile file = parse_tokenizer_file(tokenizer_json(encoding, options.special_tokens, kSteps));
    const auto tokenizer = make_bpe_tokenizer(file, "tokenizer.json", "");
    const std::vector<int32_t> ids = tokenizer->encode(text, AddedTokens::kAsText);
    EXPECT_LT(ids.size(), text.size()) << special;
  }
}

TEST(LearnMerges, StopAtTheLeastCountOrWhenNoPairIsLeft) {
  const std::vector<WordCount> words = {{"ab", 3}, {"cd", 2}, {"e", 100}};
  LearningOptions options = {.special_tokens = {"<s>"}, .vocabulary = 1000, .least_count = 0};
  EXPECT_EQ(learn_merges(words, options).tokens.size(), 259u);
  options.least_count = 2;
  EXPECT_EQ(learn_merges(words, options).tokens.size(), 259u);
  options.least_count = 3;
  EXPECT_EQ(learn_merges(words, options).tokens.back(), "ab");
  options.least_count = 4;
  EXPECT_TRUE(learn_merges(words, options).merges.empty());
}

TEST(LearnMerges, AnErrorOfTheProgressStopsThem) {
  const std::vector<WordCount> words = random_words(RandomStream(3, "words"), 500);
  const LearningOptions options = {.special_tokens = {}, .vocabulary = 500, .least_count = 0};
  EXPECT_THROW(learn_merges(words, options, [](int64_t) { throw DataError("stop"); }), DataError);
}

}  // namespace
}  // namespace ropewalk
