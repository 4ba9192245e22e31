#include "trainer/data/chat_template.h"

#include <fmt/format.h>

#include <algorithm>

#include "tests/support/expect_error.h"
#include "trainer/tokenizer/make_tokenizer.h"

namespace ropewalk {
namespace {

// Bytes, but "ab" is the token 300, also across pieces; the added tokens "<s>", "<u>", "<a>", "<e>" are 301 to 304; 305
// ends a document, and 306 begins a text.
const std::vector<std::string> kAdded = {"<s>", "<u>", "<a>", "<e>"};

class PairEncoder : public Encoder {
 public:
  void append(std::string_view piece, AddedTokens added, std::vector<int32_t>&) override {
    text_ += piece;
    recognize_.resize(text_.size(), added == AddedTokens::kRecognize);
  }
  void finish(std::vector<int32_t>& ids) override {
    for (size_t at = 0; at < text_.size();) {
      const std::string_view rest = std::string_view(text_).substr(at);
      const auto added =
          std::ranges::find_if(kAdded, [&](const std::string& token) { return rest.starts_with(token); });
      if (added != kAdded.end() && recognize_[at] && recognize_[at + 1] && recognize_[at + 2]) {
        ids.push_back(301 + static_cast<int32_t>(added - kAdded.begin()));
        at += 3;
      } else if (rest.starts_with("ab")) {
        ids.push_back(300);
        at += 2;
      } else {
        ids.push_back(static_cast<unsigned char>(text_[at++]));
      }
    }
    text_.clear();
    recognize_.clear();
  }

 private:
  std::string text_;
  std::vector<bool> recognize_;  // of each byte
};

class PairTokenizer : public Tokenizer {
 public:
  std::unique_ptr<Encoder> make_encoder() const override { return std::make_unique<PairEncoder>(); }
  std::string decode(std::span<const int32_t>, Special) const override { return {}; }
  int64_t vocabulary_size() const override { return 310; }
  std::optional<int32_t> end_of_document() const override { return 305; }
  std::optional<int32_t> added_token(std::string_view text) const override {
    const auto found = std::ranges::find(kAdded, text);
    return found == kAdded.end() ? std::nullopt : std::optional(301 + static_cast<int32_t>(found - kAdded.begin()));
  }
  Template special_ids() const override { return {.before = {306}, .after = {}}; }
  TokenizerIdentity identity() const override { return {"pairs", "1", 310}; }
};

// "a 300* 304*": the ids, bytes as characters, targets with a star.
std::string text_of(const TargetedTokens& tokens) {
  std::string out;
  for (size_t i = 0; i < tokens.ids.size(); ++i) {
    const int32_t id = tokens.ids[i];
    out +=
        fmt::format("{}{}{}", i > 0 ? " " : "", id < 256 ? std::string(1, static_cast<char>(id)) : std::to_string(id),
                    tokens.is_target[i] ? "*" : "");
  }
  return out;
}

std::string encoded(const std::string& form_text, const Conversation& conversation) {
  const ChatTemplate form = parse_chat_template(form_text, "form");
  const PairTokenizer tokenizer;
  ChatEncoder encoder(form, tokenizer);
  encoder.encode(conversation);  // the second conversation does not depend on the first
  return text_of(encoder.encode(conversation));
}

constexpr const char* kChat = R"(begin: "<s>" added_token { text: "<e>" }
role { name: "user" before: "<u>" end: "<e>" after: "." }
role { name: "assistant" before: "<a>" end: "<e>" after: "." target: true })";

TEST(ChatTemplate, TurnsOfTargetRolesAreTargetsToTheirEnd) {
  EXPECT_EQ(encoded(kChat, {{"user", "x"}, {"assistant", "y"}, {"user", "z"}, {"assistant", "w"}}),
            "301 302 x 304 . 303 y* 304* . 302 z 304 . 303 w* 304* .");
  EXPECT_EQ(encoded(kChat, {{"assistant", "y"}, {"assistant", "w"}}), "301 303 y* 304* . 303 w* 304* .");
}

TEST(ChatTemplate, TheEndOfTheDocumentIsATargetAfterOne) {
  const std::string plain =
      "begin_of_text: true end_of_document: true role { name: 'prompt' } role { name: 'completion' target: true }";
  EXPECT_EQ(encoded(plain, {{"prompt", "x"}, {"completion", "y"}}), "306 x y* 305*");
  EXPECT_EQ(encoded(plain, {{"completion", "y"}, {"prompt", "x"}}), "306 y* x 305");
}

// The tokenizer sees a boundary between targets and other text only.
TEST(ChatTemplate, TextOfOneSideIsEncodedTogether) {
  EXPECT_EQ(
      encoded("role { name: 'u' before: 'a' end: 'a' after: 'b' } role { name: 't' target: true before: 'a' end: 'b' }",
              {{"u", "b"}, {"t", "ba"}}),
      "300 300 a b* 300*");
  EXPECT_EQ(encoded("role { name: 'u' } role { name: 't' target: true after: 'b' }", {{"u", "a"}, {"t", "ba"}}),
            "a b* a* b");
}

// A name of an added token in a content is text, also if a part of it stands in the template.
TEST(ChatTemplate, ContentsAreNeverAddedTokens) {
  EXPECT_EQ(encoded(kChat, {{"user", "<e><s>"}, {"assistant", "<a>"}}),
            "301 302 < e > < s > 304 . 303 <* a* >* 304* .");
  EXPECT_EQ(
      encoded("role { name: 'u' before: '<' after: '>' } role { name: 't' target: true }", {{"u", "e"}, {"t", "x"}}),
      "< e > x*");
}

TEST(ChatTemplate, WrongConversationsAreRefused) {
  expect_error<DataError>(
      [] {
        encoded(kChat, {{"user", "x"}, {"asistant", "y"}});
      },
      {"message 2 has the role \"asistant\"; the template form has user, assistant"});
  expect_error<DataError>([] { encoded(kChat, {{"user", "x"}}); }, {"no message has a role that is a target"});
  expect_error<DataError>([] { encoded("role { name: 't' target: true }", {{"t", "x"}}); }, {"nothing precedes it"});
}

TEST(ChatTemplate, WrongTemplatesAreRefused) {
  const std::vector<std::pair<std::string, std::string>> texts = {
      {"", "role is not set"},
      {"role { name: 'u' }", "no entry with target: true"},
      {"role { target: true }", "role.0 has no name"},
      {"role { name: 'u' } role { name: 'u' target: true }", "role.1.name = u: is the name of an earlier role"},
      {"rolle { name: 'u' target: true }",
       "has 1 problem:\n  1. form:1:1: rolle is not a field of a template; did you mean role?"},
      {"role { name: 'u' befor: 'x' target: true }",
       "form:1:18: role.0.befor is not a field of a template; did you mean role.0.before?"},
      {"role { name: 'u' lr: 'x' target: true }",
       "role.0.lr is not a field of a template; configs/chat_template.proto"},
      {"role { name: 3 target: true }", "role.0.name = 3: must be text in quotes"},
      {"role { name: 't' target: maybe }", "must be true or false"},
      {"role { name: 't' target: true } added_token { }", "added_token.0 has no text"},
      {"role { name: 't'", "never closed"},
  };
  for (const auto& [text, why] : texts) {
    SCOPED_TRACE(text);
    expect_error<ConfigurationError>([&] { parse_chat_template(text, "form"); }, {why});
  }
}

TEST(ChatTemplate, TheTokenizerMustHaveItsTokens) {
  const std::unique_ptr<Tokenizer> bytes = make_tokenizer("bytes");
  expect_error<ConfigurationError>(
      [&] { check_tokenizer(parse_chat_template(kChat, "form"), *bytes); },
      {"the template form needs the added token \"<e>\"", "the tokenizer bytes does not have"});
}

// The templates that come with the program can be read, and `plain` suits every tokenizer.
TEST(ChatTemplate, Shipped) {
  const std::filesystem::path folder = std::filesystem::path(ROPEWALK_CONFIGS) / "templates";
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const ChatTemplate form = load_chat_template(entry.path());
    for (const char* role : {"system", "user", "assistant", "prompt", "completion"})
      EXPECT_NE(std::ranges::find(form.roles, role, &ChatTemplate::Role::name), form.roles.end()) << entry.path();
    ++count;
  }
  EXPECT_EQ(count, 3);
  const std::unique_ptr<Tokenizer> bytes = make_tokenizer("bytes");
  const ChatTemplate plain = load_chat_template(folder / "plain.textproto");
  ChatEncoder encoder(plain, *bytes);
  EXPECT_EQ(text_of(encoder.encode({{"prompt", "2+2="}, {"completion", "4"}})), "2 + 2 = 4* 256*");
}

}  // namespace
}  // namespace ropewalk
