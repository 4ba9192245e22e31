// Any bytes give a Config or a ConfigurationError, and nothing else; and the reader agrees with protobuf's own parser.
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "configs/ropewalk.pb.h"
#include "tests/trainer/config/config_text.h"
#include "trainer/config/config_text.h"
#include "trainer/run/starting_point.h"

namespace ropewalk {
namespace {

std::vector<std::string> preset_texts() {
  std::vector<std::string> texts;
  for (const auto& entry : std::filesystem::directory_iterator(ROPEWALK_CONFIGS))
    if (entry.path().extension() == ".textproto") texts.push_back(read_config_file(entry.path()));
  std::sort(texts.begin(), texts.end());  // directory order is not fixed
  return texts;
}

// Damages a text a little: bytes, pieces, tokens.
class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  std::string mutate(std::string text) {
    for (size_t count = 1 + below(3); count > 0; --count) mutate_once(text);
    return text;
  }

 private:
  size_t below(size_t n) { return random_() % n; }

  void mutate_once(std::string& text) {
    static const std::vector<std::string> kTokens = {"{",
                                                     "}",
                                                     "<",
                                                     ">",
                                                     "[",
                                                     "]",
                                                     ":",
                                                     ",",
                                                     ";",
                                                     "-",
                                                     "--",
                                                     "\"",
                                                     "'",
                                                     "#",
                                                     "\n",
                                                     "\\",
                                                     "\"a\" 'b'",
                                                     "0",
                                                     "-1",
                                                     "0x",
                                                     "0x10",
                                                     "010",
                                                     "08",
                                                     "1e",
                                                     "1e999",
                                                     "-1e-999",
                                                     "1.5f",
                                                     "inf",
                                                     "-inf",
                                                     "nan",
                                                     "true",
                                                     "True",
                                                     "t",
                                                     "ROPE",
                                                     "SLIDING",
                                                     "9223372036854775807",
                                                     "9223372036854775808",
                                                     "-9223372036854775808",
                                                     "18446744073709551616",
                                                     "model",
                                                     "model {",
                                                     "pattern {}",
                                                     "pattern: [{}, {}]",
                                                     "window: 0",
                                                     "theta: nan",
                                                     "steps",
                                                     "[a.b]: 1",
                                                     "[type.googleapis.com/x] {}",
                                                     "/*",
                                                     "//",
                                                     "\xff",
                                                     std::string(1, '\0'),
                                                     "\"\\xff\\000\"",
                                                     "\"\\U0010ffff\"",
                                                     "\"\\ud800\"",
                                                     "unknown { a: [ { b: \"}\" } ] }"};
    const size_t at = below(text.size() + 1), length = below(std::min<size_t>(40, text.size() - at + 1));
    switch (below(6)) {
      case 0:
        if (at < text.size()) text[at] = static_cast<char>(random_());
        break;
      case 1:
        text.insert(at, kTokens[below(kTokens.size())]);
        break;
      case 2:
        text.replace(at, length, kTokens[below(kTokens.size())]);
        break;
      case 3:
        text.erase(at, length);
        break;
      case 4:
        text.insert(below(text.size() + 1), text.substr(at, length));
        break;
      default:
        if (below(8) == 0)
          text.resize(at);
        else if (at < text.size())
          text[at] = static_cast<char>(text[at] ^ (1 << below(7)));
    }
  }

  std::mt19937_64 random_;
};

TEST(HostileText, MutatedPresetsGiveAConfigOrAConfigurationError) {
  const std::vector<std::string> texts = preset_texts();
  Mutator mutator(20250118);
  int accepted = 0, refused = 0;
  for (int i = 0; i < 6000; ++i) {
    const std::string text = mutator.mutate(texts[static_cast<size_t>(i) % texts.size()]);
    try {
      const Config config = parse_config(text, "mutated", {}, i % 3 == 0 ? std::optional<int>(16) : std::nullopt);
      ++accepted;
      EXPECT_GE(config.model.layers.size(), 1u);
      EXPECT_EQ(parse_config(config.resolved_text, "again", {}, config.parallel.mesh.size()).resolved_text,
                config.resolved_text);
    } catch (const ConfigurationError& error) {
      ++refused;
      EXPECT_NE(std::string(error.what()).find(" problem"), std::string::npos);
    }
  }
  // Both outcomes occurred often.
  EXPECT_GT(accepted, 500);
  EXPECT_GT(refused, 2000);
}

// Accepts exactly the texts that protobuf's parser accepts, with the same values.
TEST(HostileText, ReaderAgreesWithProtobuf) {
  struct UnresponsivePeers : google::protobuf::io::ErrorCollector {
    void AddError(int, int, const std::string&) override {}
  } silence;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&silence);
  const std::vector<std::string> texts = preset_texts();
  Mutator mutator(4242);
  int accepted = 0;
  for (int i = 0; i < 6000; ++i) {
    const std::string text = mutator.mutate(texts[static_cast<size_t>(i) % texts.size()]);
    proto::Config theirs, ours;
    Problems problems;
    const bool they_accept = parser.ParseFromString(text, &theirs);
    const bool we_accept = read_config_text(text, "mutated", ours, problems) && problems.empty();
    EXPECT_EQ(we_accept, they_accept) << text << "\n" << problems.text("ours");
    if (!we_accept || !they_accept) continue;
    ++accepted;
    EXPECT_EQ(ours.SerializeAsString(), theirs.SerializeAsString()) << text;
  }
  EXPECT_GT(accepted, 1000);
}

TEST(HostileText, MutatedOverridesGiveAConfigOrAConfigurationError) {
  const std::string overrides[] = {"training.learning_rate=3e-4", "model.pattern.0.window=128", "data.prefix=\"a\"",
                                   "model.pattern=[{mask: FULL}, {}]", "parallel.sequence_parallel=true"};
  Mutator mutator(99);
  for (int i = 0; i < 4000; ++i) {
    const std::vector<std::string> list = {mutator.mutate(overrides[i % 5]), mutator.mutate(overrides[(i / 5) % 5])};
    try {
      parse_config(kSmallest, "smallest", list, std::nullopt);
    } catch (const ConfigurationError&) {
    }
  }
}

TEST(HostileText, SizeAndDepthAreBounded) {
  EXPECT_NE(refusal(std::string((16 << 20) + 1, ' ')).find("is larger than 16 MiB"), std::string::npos);
  EXPECT_NE(refusal(std::string(16 << 20, '{')).find("has 1 problem"), std::string::npos);

  std::string deep = "unknown ";
  for (int i = 0; i < 1'000'000; ++i) deep += "{a";
  EXPECT_NE(refusal(deep).find("syntax"), std::string::npos);
  for (int i = 0; i < 1'000'000; ++i) deep += "}";
  EXPECT_NE(refusal(deep).find("unknown is not a field"), std::string::npos);

  std::string entries = "model {";
  for (int i = 0; i < 1'000'000; ++i) entries += "pattern{}";
  EXPECT_NE(refusal(entries).find("model.pattern has more than 10000 entries"), std::string::npos);

  std::string unknown;
  for (int i = 0; i < 200'000; ++i) unknown += fmt::format("a{}:1 ", i);
  EXPECT_NE(refusal(unknown).find("51. run.textproto:1:291: nothing more was read after 50 problems"),
            std::string::npos)
      << refusal(unknown).substr(0, 300);

  const std::string name(1 << 20, 'x');
  const std::string long_name = refusal(name + ": 1");
  EXPECT_LT(long_name.size(), 10'000u);
  EXPECT_LT(refusal(kSmallest, {name + "=1", "training.steps=" + name, "training." + name + "=1"}).size(), 10'000u);
}

TEST(HostileText, FilesThatCannotBeReadSayWhy) {
  const auto said = [](const std::filesystem::path& file) -> std::string {
    try {
      load_config(file, {}, std::nullopt);
    } catch (const ConfigurationError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(said("no/such/file").find("cannot read no/such/file: No such file or directory"), std::string::npos);
  EXPECT_NE(said(std::filesystem::temp_directory_path()).find("Is a directory"), std::string::npos);
  EXPECT_NE(said("/dev/null").find("problems"), std::string::npos);
  EXPECT_NE(said("/dev/zero").find("is larger than 16 MiB"), std::string::npos);
}

}  // namespace
}  // namespace ropewalk
