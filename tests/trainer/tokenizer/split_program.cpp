// Normalizes and splits texts, for tests/tokenizers/compare_with_hugging_face.py. Each line of standard input is a JSON
// object: either {"normalizer": [...], "pre_tokenizer": [...]}, lists of the steps of a tokenizer.json, which count from
// there on; or {"text": ..., "cuts": [...]}, a text and where its parts end, in bytes. For each text it writes one line
// of JSON: the normalized text and its pre-tokens.
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "trainer/tokenizer/pre_tokenizer.h"

namespace ropewalk {
namespace {

using nlohmann::json;

NormalizerStep normalizer_step(const json& step) {
  using Kind = NormalizerStep::Kind;
  static const std::map<std::string, Kind> kinds = {{"NFC", Kind::kNfc},         {"NFD", Kind::kNfd},
                                                    {"NFKC", Kind::kNfkc},       {"NFKD", Kind::kNfkd},
                                                    {"Prepend", Kind::kPrepend}, {"Replace", Kind::kReplace}};
  const Kind kind = kinds.at(step.at("type"));
  if (kind == Kind::kPrepend) return {kind, step.at("prepend"), ""};
  if (kind == Kind::kReplace) return {kind, step.at("pattern").at("String"), step.at("content")};
  return {kind, "", ""};
}

PreTokenizerStep pre_tokenizer_step(const json& step) {
  using Kind = PreTokenizerStep::Kind;
  using Behavior = PreTokenizerStep::Behavior;
  static const std::map<std::string, Behavior> behaviors = {{"Isolated", Behavior::kIsolated},
                                                            {"Removed", Behavior::kRemoved},
                                                            {"MergedWithPrevious", Behavior::kMergedWithPrevious},
                                                            {"MergedWithNext", Behavior::kMergedWithNext},
                                                            {"Contiguous", Behavior::kContiguous}};
  PreTokenizerStep out{};
  if (step.at("type") == "ByteLevel") {
    out.kind = Kind::kByteLevel;
    out.use_regex = step.at("use_regex");
    out.add_prefix_space = step.at("add_prefix_space");
  } else if (step.at("type") == "Digits") {
    out.kind = Kind::kDigits;
    out.individual_digits = step.at("individual_digits");
  } else {
    const json& pattern = step.at("pattern");
    out.kind = pattern.contains("Regex") ? Kind::kRegex : Kind::kLiteral;
    out.pattern = pattern.contains("Regex") ? pattern.at("Regex") : pattern.at("String");
    out.behavior = behaviors.at(step.at("behavior"));
    out.invert = step.at("invert");
  }
  return out;
}

std::string normalize(NormalizerStream& stream, const std::string& text, const std::vector<size_t>& cuts) {
  std::string out;
  size_t begin = 0;
  for (size_t i = 0; i < cuts.size(); ++i) {
    const size_t end = cuts[i];
    stream.append(std::string_view(text).substr(begin, end - begin), {.begins = i == 0, .ends = i + 1 == cuts.size()},
                  out);
    begin = end;
  }
  return out;
}

// The splitter sees the text up to each cut in turn, from where it stopped before. Cuts of the original text are within
// the normalized one, at whole characters.
std::vector<std::string> split(Splitter& splitter, const std::string& text, const std::vector<size_t>& cuts) {
  std::vector<std::string> pieces;
  size_t begin = 0;
  for (size_t i = 0; i < cuts.size(); ++i) {
    const bool ends = i + 1 == cuts.size();
    size_t end = ends ? text.size() : std::min(cuts[i], text.size());
    while (end < text.size() && (text[end] & 0xC0) == 0x80) ++end;
    if (end < begin) continue;
    const std::string part = text.substr(begin, end - begin);  // its own memory: reads beyond it are errors
    PreTokens out;
    begin += splitter.split(part, {.begins = begin == 0, .ends = ends}, out);
    pieces.insert(pieces.end(), out.pieces.begin(), out.pieces.end());
  }
  if (begin != text.size()) throw std::logic_error("the last part did not cover the text");
  return pieces;
}

int run() {
  std::unique_ptr<Normalizer> normalizer;
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  std::unique_ptr<NormalizerStream> stream;
  std::unique_ptr<Splitter> splitter;
  for (std::string line; std::getline(std::cin, line);) {
    const json request = json::parse(line);
    if (request.contains("pre_tokenizer")) {
      std::vector<NormalizerStep> normalizer_steps;
      for (const json& step : request.at("normalizer")) normalizer_steps.push_back(normalizer_step(step));
      std::vector<PreTokenizerStep> steps;
      for (const json& step : request.at("pre_tokenizer")) steps.push_back(pre_tokenizer_step(step));
      normalizer = make_normalizer(std::move(normalizer_steps));
      pre_tokenizer = make_pre_tokenizer(std::move(steps));
      stream = normalizer->make_stream();
      splitter = pre_tokenizer->make_splitter();
      continue;
    }
    const std::vector<size_t> cuts = request.at("cuts");
    const std::string normalized = normalize(*stream, request.at("text"), cuts);
    std::cout << json{{"normalized", normalized}, {"pieces", split(*splitter, normalized, cuts)}}.dump() << "\n";
  }
  return 0;
}

}  // namespace
}  // namespace ropewalk

int main() {
  try {
    return ropewalk::run();
  } catch (const std::exception& error) {
    std::cerr << "split_program: " << error.what() << "\n";
    return 1;
  }
}
