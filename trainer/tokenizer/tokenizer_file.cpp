#include "trainer/tokenizer/tokenizer_file.h"

#include <simdjson.h>

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "kernels/error.h"
#include "trainer/text/format.h"
#include "trainer/tokenizer/byte_alphabet.h"

namespace ropewalk {
namespace {

namespace dom = simdjson::dom;

constexpr int64_t kMostTokens = 0xFFFFFF;  // as many as simdjson counts in an object

[[noreturn]] void refuse(const std::string& place, const std::string& what) {
  throw DataError(fmt::format("{}: {}", place, what));
}

// A value with its place in the file, for messages: "model.merges[7]".
class Value {
 public:
  Value(dom::element element, std::string place) : element_(element), place_(std::move(place)) {}

  const std::string& place() const { return place_; }
  bool is_null() const { return element_.is_null(); }
  std::string shown() const {  // its beginning
    constexpr size_t kMost = 80;
    const std::string text = simdjson::minify(element_);
    return text.size() <= kMost ? text : text.substr(0, kMost) + "...";
  }

  std::string_view text() const { return as<std::string_view>("a string"); }
  bool flag() const { return as<bool>("true or false"); }
  int64_t id() const {
    const auto value = as<int64_t>("a whole number");
    if (value < 0 || value >= kMostTokens)
      refuse(place_, fmt::format("{} is no id; ids are below {}", value, kMostTokens));
    return value;
  }

  // Calls `each(key, value)` for the members of an object. Parsers differ in which of two equal keys counts.
  template <typename Each>
  void members(const Each& each) const {
    std::set<std::string_view> keys;
    for (const dom::key_value_pair member : as<dom::object>("an object")) {
      if (!keys.insert(member.key).second)
        refuse(place_, fmt::format("the key {} occurs twice", in_quotes(member.key)));
      each(member.key,
           Value(member.value, place_.empty() ? std::string(member.key) : place_ + "." + std::string(member.key)));
    }
  }
  template <typename Each>
  void items(const Each& each) const {
    size_t i = 0;
    for (const dom::element item : as<dom::array>("a list")) each(Value(item, fmt::format("{}[{}]", place_, i++)));
  }

  dom::element raw() const { return element_; }

  template <typename T>
  T as(const char* kind) const {
    T value;
    if (element_.get(value)) refuse(place_, fmt::format("{} is not {}", shown(), kind));
    return value;
  }

 private:
  dom::element element_;
  std::string place_;
};

// The members of an object that are known by name; others are refused.
class Members {
 public:
  Members(const Value& object, std::initializer_list<std::string_view> known, std::string_view of)
      : place_(object.place()) {
    object.members([&](std::string_view key, const Value& value) {
      if (std::ranges::find(known, key) == known.end())
        refuse(value.place(), fmt::format("{} is not supported for {}", in_quotes(key), of));
      values_.emplace(key, value);
    });
  }

  const Value* find(std::string_view key) const {  // null if it is absent or null
    const auto found = values_.find(key);
    return found == values_.end() || found->second.is_null() ? nullptr : &found->second;
  }
  const Value& at(std::string_view key) const {
    const Value* value = find(key);
    if (!value) refuse(place_, fmt::format("{} is missing", in_quotes(key)));
    return *value;
  }
  bool flag(std::string_view key, bool otherwise) const {
    const Value* value = find(key);
    return value ? value->flag() : otherwise;
  }
  std::string text(std::string_view key) const { return std::string(at(key).text()); }

 private:
  std::string place_;
  std::map<std::string_view, Value> values_;
};

std::string type_of(const Value& value) {
  dom::element type;
  std::string_view name;
  if (value.raw()["type"].get(type) || type.get(name)) refuse(value.place(), "\"type\" is missing");
  return std::string(name);
}

[[noreturn]] void refuse_type(const Value& value, const std::string& type, const char* known) {
  refuse(value.place(), fmt::format("the type {} is not supported; {} are", in_quotes(type), known));
}

// A pattern is a literal text, or a regular expression.
struct Pattern {
  std::string text;
  bool is_regex;
};
Pattern pattern_of(const Value& value) {
  const Members members(value, {"String", "Regex"}, "a pattern");
  const Value *literal = members.find("String"), *regex = members.find("Regex");
  if (!literal == !regex) refuse(value.place(), "must have either \"String\" or \"Regex\"");
  Pattern pattern{std::string((literal ? literal : regex)->text()), regex != nullptr};
  if (pattern.text.empty()) refuse(value.place(), "is empty");
  return pattern;
}

void read_normalizer(const Value& value, std::vector<NormalizerStep>& steps) {
  using Kind = NormalizerStep::Kind;
  static const std::map<std::string, Kind> kForms = {
      {"NFC", Kind::kNfc}, {"NFD", Kind::kNfd}, {"NFKC", Kind::kNfkc}, {"NFKD", Kind::kNfkd}};
  const std::string type = type_of(value);
  if (const auto form = kForms.find(type); form != kForms.end()) {
    Members(value, {"type"}, type);
    steps.push_back({form->second, "", ""});
  } else if (type == "Sequence") {
    const Members members(value, {"type", "normalizers"}, type);
    members.at("normalizers").items([&](const Value& item) { read_normalizer(item, steps); });
  } else if (type == "Prepend") {
    steps.push_back({Kind::kPrepend, Members(value, {"type", "prepend"}, type).text("prepend"), ""});
  } else if (type == "Replace") {
    const Members members(value, {"type", "pattern", "content"}, type);
    const Pattern pattern = pattern_of(members.at("pattern"));
    if (pattern.is_regex) refuse(value.place(), "a regular expression in a Replace is not supported");
    steps.push_back({Kind::kReplace, pattern.text, members.text("content")});
  } else {
    refuse_type(value, type, "NFC, NFD, NFKC, NFKD, Prepend, Replace and Sequence");
  }
}

PreTokenizerStep::Behavior behavior_of(const Value& value) {
  using Behavior = PreTokenizerStep::Behavior;
  static const std::map<std::string_view, Behavior> kNames = {{"Isolated", Behavior::kIsolated},
                                                              {"Removed", Behavior::kRemoved},
                                                              {"MergedWithPrevious", Behavior::kMergedWithPrevious},
                                                              {"MergedWithNext", Behavior::kMergedWithNext},
                                                              {"Contiguous", Behavior::kContiguous}};
  const auto found = kNames.find(value.text());
  if (found == kNames.end()) refuse(value.place(), fmt::format("{} is no behavior", value.shown()));
  return found->second;
}

void read_pre_tokenizer(const Value& value, std::vector<PreTokenizerStep>& steps) {
  using Kind = PreTokenizerStep::Kind;
  const std::string type = type_of(value);
  if (type == "Sequence") {
    const Members members(value, {"type", "pretokenizers"}, type);
    return members.at("pretokenizers").items([&](const Value& item) { read_pre_tokenizer(item, steps); });
  }
  PreTokenizerStep step{.kind = Kind::kByteLevel, .pattern = ""};
  if (type == "ByteLevel") {
    const Members members(value, {"type", "add_prefix_space", "trim_offsets", "use_regex"}, type);
    step.add_prefix_space = members.flag("add_prefix_space", true);
    step.use_regex = members.flag("use_regex", true);
  } else if (type == "Digits") {
    step.kind = Kind::kDigits;
    step.individual_digits = Members(value, {"type", "individual_digits"}, type).flag("individual_digits", false);
  } else if (type == "Split") {
    const Members members(value, {"type", "pattern", "behavior", "invert"}, type);
    Pattern pattern = pattern_of(members.at("pattern"));
    step.kind = pattern.is_regex ? Kind::kRegex : Kind::kLiteral;
    step.pattern = std::move(pattern.text);
    step.behavior = behavior_of(members.at("behavior"));
    step.invert = members.flag("invert", false);
  } else {
    refuse_type(value, type, "ByteLevel, Digits, Split and Sequence");
  }
  steps.push_back(std::move(step));
}

void check_pre_tokenizer(const std::vector<PreTokenizerStep>& steps) {
  const auto levels = std::ranges::count(steps, PreTokenizerStep::Kind::kByteLevel, &PreTokenizerStep::kind);
  if (levels != 1 || steps.back().kind != PreTokenizerStep::Kind::kByteLevel)
    refuse("pre_tokenizer", "ByteLevel must be its last step, and once: only byte-level tokenizers are supported");
}

AddedToken added_token_of(const Value& value) {
  const Members members(value, {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"},
                        "an added token");
  AddedToken token;
  token.id = static_cast<int32_t>(members.at("id").id());
  token.content = members.text("content");
  if (token.content.empty()) refuse(value.place(), "\"content\" is empty");
  token.special = members.flag("special", false);
  token.single_word = members.flag("single_word", false);
  token.lstrip = members.flag("lstrip", false);
  token.rstrip = members.flag("rstrip", false);
  token.normalized = members.flag("normalized", !token.special);
  return token;
}

class Reader {
 public:
  TokenizerFile read(const Value& root) {
    const Members members(root,
                          {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                           "post_processor", "decoder", "model"},
                          "a tokenizer");
    if (const Value* version = members.find("version"); version && version->text() != "1.0")
      refuse("version", fmt::format("is {}; this program reads \"1.0\"", version->shown()));
    const Value* const added = members.find("added_tokens");
    if (added) known_.resize(added->as<dom::array>("a list").size());
    read_model(members.at("model"));
    if (added) read_added(*added);
    check_ids();
    if (const Value* normalizer = members.find("normalizer")) read_normalizer(*normalizer, file_.normalizer);
    if (const Value* splitter = members.find("pre_tokenizer")) read_pre_tokenizer(*splitter, file_.pre_tokenizer);
    check_pre_tokenizer(file_.pre_tokenizer);
    if (const Value* processor = members.find("post_processor")) read_processor(*processor);
    if (const Value* decoder = members.find("decoder"); decoder && type_of(*decoder) != "ByteLevel")
      refuse_type(*decoder, type_of(*decoder), "only ByteLevel");
    return std::move(file_);
  }

 private:
  void read_model(const Value& model) {
    const Members members(model,
                          {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                           "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"},
                          "a model");
    if (members.find("type") && members.text("type") != "BPE") refuse_type(model, members.text("type"), "only BPE");
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (members.find(key) && !members.text(key).empty()) refuse(members.at(key).place(), "is not supported");
    if (const Value* dropout = members.find("dropout"); dropout && dropout->as<double>("a number") != 0)
      refuse(dropout->place(), fmt::format("is {}: ids would be random; set it to null", dropout->shown()));
    // unk_token, fuse_unk and byte_fallback are for bytes without a token, and check_ids() finds one for each.
    file_.ignore_merges = members.flag("ignore_merges", false);
    read_vocabulary(members.at("vocab"));
    members.at("merges").items([&](const Value& merge) { read_merge(merge); });
  }

  void read_vocabulary(const Value& vocabulary) {
    const auto tokens = vocabulary.as<dom::object>("an object");
    known_.resize(known_.size() + tokens.size());
    for (const dom::key_value_pair member : tokens) {
      const Value id(member.value, fmt::format("{}[{}]", vocabulary.place(), in_quotes(member.key)));
      if (!ids_.emplace(member.key, static_cast<int32_t>(id.id())).second) refuse(id.place(), "the token occurs twice");
      set_token(static_cast<int32_t>(id.id()), std::string(member.key), id.place());
    }
  }

  void set_token(int32_t id, const std::string& text, const std::string& place) {
    if (static_cast<size_t>(id) >= known_.size()) {  // a smaller one is missing; check_ids() names it
      beyond_ = text;
      return;
    }
    std::optional<std::string>& known = known_[static_cast<size_t>(id)];
    if (known)
      refuse(place, fmt::format("id {} is also that of {}; give each token an id of its own", id, in_quotes(*known)));
    known = text;
  }

  int32_t id_of(std::string_view token, const std::string& place) const {
    const auto found = ids_.find(std::string(token));
    if (found == ids_.end()) refuse(place, fmt::format("{} is not in the vocabulary", in_quotes(token)));
    return found->second;
  }

  // ["a", "b"], or "a b" in older files
  void read_merge(const Value& merge) {
    std::string_view text, left, right;
    dom::array pair;
    if (!merge.raw().get(text)) {
      const size_t space = text.find(' ');
      if (space == text.npos || text.find(' ', space + 1) != text.npos)
        refuse(merge.place(), fmt::format("{} is not two tokens with a space between them", merge.shown()));
      left = text.substr(0, space);
      right = text.substr(space + 1);
    } else if (merge.raw().get(pair) || pair.size() != 2 || pair.at(0).get(left) || pair.at(1).get(right)) {
      refuse(merge.place(), fmt::format("{} is not a pair of tokens", merge.shown()));
    }
    const Merge found{id_of(left, merge.place()), id_of(right, merge.place()),
                      id_of(std::string(left) + std::string(right), merge.place())};
    if (!pairs_.emplace(found.left, found.right).second) refuse(merge.place(), "the pair occurs twice");
    file_.merges.push_back(found);
  }

  void read_added(const Value& added) {
    std::set<std::string> contents;
    added.items([&](const Value& item) {
      AddedToken token = added_token_of(item);
      if (!contents.insert(token.content).second)
        refuse(item.place(), fmt::format("the added token {} occurs twice", in_quotes(token.content)));
      const auto known = ids_.find(token.content);
      if (known == ids_.end()) {
        set_token(token.id, token.content, item.place());
      } else if (known->second != token.id) {
        refuse(item.place(), fmt::format("{} has id {} here, and {} in the vocabulary", in_quotes(token.content),
                                         token.id, known->second));
      }
      file_.added.push_back(std::move(token));
    });
    std::ranges::sort(file_.added, {}, &AddedToken::id);
  }

  void check_ids() {
    while (!known_.empty() && !known_.back() && !beyond_) known_.pop_back();  // tokens that the file has twice
    const std::string largest = beyond_ ? *beyond_ : known_.empty() ? "" : *known_.back();
    for (size_t id = 0; id < known_.size(); ++id) {
      if (!known_[id])
        refuse("model.vocab", fmt::format("no token has id {}, but {} has a larger one", id, in_quotes(largest)));
      std::optional<std::string> bytes = bytes_of_letters(*known_[id]);
      const bool is_of_model = bytes && ids_.contains(*known_[id]);
      file_.tokens.push_back({bytes ? std::move(*bytes) : *known_[id], is_of_model});
    }
    for (int byte = 0; byte < 256; ++byte)
      if (const std::string letter = letter_of(static_cast<uint8_t>(byte)); !ids_.contains(letter))
        refuse("model.vocab",
               fmt::format("the byte 0x{:02x} has no token ({}): only byte-level tokenizers are supported", byte,
                           in_quotes(letter)));
  }

  void read_processor(const Value& value) {
    const std::string type = type_of(value);
    if (type == "Sequence") {
      const Members members(value, {"type", "processors"}, type);
      members.at("processors").items([&](const Value& item) { read_processor(item); });
    } else if (type == "TemplateProcessing") {
      const Members members(value, {"type", "single", "pair", "special_tokens"}, type);
      read_template(members.at("single"), members.at("special_tokens"));
    } else if (type != "ByteLevel") {  // ByteLevel changes only offsets
      refuse_type(value, type, "ByteLevel, TemplateProcessing and Sequence");
    }
  }

  void read_template(const Value& single, const Value& special_tokens) {
    std::map<std::string, std::vector<int32_t>> known;
    special_tokens.members([&](std::string_view name, const Value& token) {
      const Members members(token, {"id", "ids", "tokens"}, "a special token");
      members.at("ids").items(
          [&](const Value& id) { known[std::string(name)].push_back(static_cast<int32_t>(id.id())); });
    });
    int sequences = 0;
    single.items([&](const Value& item) {
      const Members members(item, {"SpecialToken", "Sequence"}, "a template");
      const Value* special = members.find("SpecialToken");
      if (!special) {
        ++sequences;
        return;
      }
      const std::string name = Members(*special, {"id", "type_id"}, "a special token").text("id");
      if (!known.contains(name)) refuse(item.place(), fmt::format("{} is not in special_tokens", in_quotes(name)));
      for (const int32_t id : known[name]) {
        if (id >= std::ssize(file_.tokens)) refuse(item.place(), fmt::format("no token has id {}", id));
        (sequences == 0 ? file_.special_ids.before : file_.special_ids.after).push_back(id);
      }
    });
    if (sequences != 1) refuse(single.place(), "must have one Sequence");
  }

  TokenizerFile file_;
  std::unordered_map<std::string, int32_t> ids_;  // of the model's tokens
  // Texts by id, with room for each entry of the file: without a hole, no id is larger.
  std::vector<std::optional<std::string>> known_;
  std::optional<std::string> beyond_;            // a token with a larger id
  std::set<std::pair<int32_t, int32_t>> pairs_;  // that are merged
};

dom::element parse(dom::parser& parser, const simdjson::padded_string& json) {
  dom::element root;
  if (const simdjson::error_code error = parser.parse(json).get(root))
    throw DataError(fmt::format("not valid JSON: {}", simdjson::error_message(error)));
  return root;
}

}  // namespace

TokenizerFile parse_tokenizer_file(std::string_view json) {
  dom::parser parser;
  const simdjson::padded_string padded(json);
  return Reader().read(Value(parse(parser, padded), ""));
}

std::string end_of_document_in(std::string_view json) {
  dom::parser parser;
  const simdjson::padded_string padded(json);
  const Value root(parse(parser, padded), "");
  std::string found;
  root.members([&](std::string_view key, const Value& value) {
    if (key != "eos_token" || value.is_null()) return;
    dom::element content;
    found = value.raw().is_object() && !value.raw()["content"].get(content) ? Value(content, "eos_token.content").text()
                                                                            : value.text();
  });
  return found;
}

}  // namespace ropewalk
