// `ropewalk tokenizer show`: what a tokenizer is made of.
#include "launch/process/output.h"
#include "launch/verbs/verbs.h"
#include "trainer/text/format.h"
#include "trainer/tokenizer/make_tokenizer.h"
#include "trainer/tokenizer/tokenizer_file.h"

namespace ropewalk {
namespace {

// "token 0, <|endoftext|>"
std::string token_text(const Tokenizer& tokenizer, int32_t id) {
  const std::string text = tokenizer.decode(std::span(&id, 1), Tokenizer::Special::kWrite);
  return fmt::format("token {}{}", id, text.empty() ? "" : ", " + printable_name(text));
}

std::string list_of(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  std::string out;
  for (const int32_t id : ids) out += (out.empty() ? "" : "; ") + token_text(tokenizer, id);
  return out.empty() ? "nothing" : out;
}

std::string text_of(const PreTokenizerStep& step) {
  using Kind = PreTokenizerStep::Kind;
  if (step.kind == Kind::kDigits) return step.individual_digits ? "each digit alone" : "runs of digits";
  if (step.kind == Kind::kByteLevel && !step.use_regex) return step.add_prefix_space ? "a space before each text" : "";
  if (step.kind == Kind::kByteLevel)
    return fmt::format("GPT-2's pattern{}", step.add_prefix_space ? ", with a space before each text" : "");
  if (step.kind == Kind::kLiteral) return "at the text " + in_quotes(step.pattern);
  if (is_published_pattern(step.pattern)) return "a published pattern: " + printable_name(step.pattern);
  return fmt::format("a pattern of PCRE2, with Unicode {}: {}", other_patterns_unicode_version(),
                     printable_name(step.pattern));
}

std::string file_text(const TokenizerFile& file) {
  std::string out = fmt::format("merges          {}\n", file.merges.size());
  if (!file.normalizer.empty()) out += fmt::format("normalizer      {}\n", counted(file.normalizer.size(), "step"));
  for (const PreTokenizerStep& step : file.pre_tokenizer)
    if (const std::string text = text_of(step); !text.empty()) out += fmt::format("splits text     {}\n", text);
  for (const AddedToken& token : file.added)
    out += fmt::format("added token     {:<8}{}{}\n", token.id, printable_name(token.content),
                       token.special ? " (special)" : "");
  return out;
}

ExitCode show(const Arguments& arguments, const Launcher&) {
  const auto [tokenizer, file] = load_tokenizer(arguments.value("tokenizer"));
  const TokenizerIdentity identity = tokenizer->identity();
  const std::optional<int32_t> end = tokenizer->end_of_document();
  const Tokenizer::Template special = tokenizer->special_ids();
  std::string out = fmt::format(
      "tokenizer       {}\nhash            {}\ntokens          {}\nend of document {}\n"
      "special ids     before a text: {}; after it: {}\n",
      printable_name(identity.name), identity.hash.empty() ? "none" : identity.hash, identity.vocabulary,
      end ? token_text(*tokenizer, *end) : "not known; prepare needs --end-of-document",
      list_of(*tokenizer, special.before), list_of(*tokenizer, special.after));
  if (file) out += file_text(parse_tokenizer_file(*file));
  print(out);
  return ExitCode::kDone;
}

}  // namespace

Verb tokenizer_show_verb() {
  return {.name = "tokenizer show",
          .summary = "what a tokenizer is made of",
          .about =
              "Prints the size of the vocabulary, the token that ends a document, the ids that --add-special-tokens\n"
              "puts around a text, how text is split before the merges, and the added tokens. The hash depends on all\n"
              "that ids depend on: two files with the same hash give the same ids. Datasets and checkpoints remember\n"
              "it, and a run refuses data with another one.",
          .groups = {{"Options", {{"tokenizer", "NAME", tokenizer_choices(), Option::Count::kOnce, true}}}},
          .examples = {"ropewalk tokenizer show --tokenizer bytes"},
          .run = show};
}

}  // namespace ropewalk
