#include "trainer/data/data_tokenizer.h"

#include "kernels/error.h"
#include "trainer/config/stages.h"
#include "trainer/data/dataset_facts.h"
#include "trainer/files/file_system.h"
#include "trainer/text/format.h"
#include "trainer/tokenizer/make_tokenizer.h"

namespace ropewalk {
namespace {

constexpr const char* kNone = "none";

struct Remembered {
  std::string prefix;
  TokenizerOfData tokenizer;
};

// The tokenizer of all datasets that remember one, and the first of those datasets.
std::optional<Remembered> remembered_by(const std::vector<Stage>& stages) {
  std::optional<Remembered> first;
  for (const Stage& stage : stages) {
    for (const auto& [prefix, _] : sources_of(stage)) {
      const std::optional<DatasetFacts> facts = read_dataset_facts(prefix);
      if (!facts) continue;
      const TokenizerOfData tokenizer{facts->tokenizer, facts->end_of_document};
      if (!first) first = {prefix, tokenizer};
      check_same_tokenizer(first->tokenizer, "the data " + printable_name(first->prefix), tokenizer,
                           "the data " + printable_name(prefix), "prepare all data of the run with one tokenizer");
    }
  }
  return first;
}

// The tokenizer that prepare() kept beside the data; null if its file is gone.
std::shared_ptr<const Tokenizer> kept_beside(const Remembered& data) {
  if (data.tokenizer.identity.hash.empty()) return make_tokenizer(data.tokenizer.identity.name);
  const std::string file = data.prefix + ".tokenizer.json";
  if (kind_of(file, FileOwner::kData) == PathKind::kNone) return nullptr;
  std::shared_ptr<const Tokenizer> tokenizer = make_tokenizer(file, "");  // the data know what ends a document
  check_same_tokenizer(data.tokenizer, "the data " + printable_name(data.prefix),
                       TokenizerOfData{tokenizer->identity(), {}}, printable_name(file),
                       "put back the file as `ropewalk prepare` wrote it, or prepare the data again");
  return tokenizer;
}

void check_fits(const TokenizerOfData& tokenizer, const Config& config) {
  const int64_t tokens = tokenizer.identity.vocabulary;
  if (tokens <= config.model.vocabulary) return;
  throw ConfigurationError(fmt::format(
      "model.vocabulary is {}, but the data were made by the tokenizer {}; set model.vocabulary to {} or more",
      config.model.vocabulary, tokenizer_text(tokenizer.identity), tokens));
}

}  // namespace

std::string tokenizer_text(const TokenizerIdentity& tokenizer) {
  const std::string hash = tokenizer.hash.empty() ? "" : ", hash " + printable_name(tokenizer.hash.substr(0, 8));
  return fmt::format("{} ({}{})", printable_name(tokenizer.name), counted(tokenizer.vocabulary, "token"), hash);
}

void check_same_tokenizer(const std::optional<TokenizerOfData>& a, const std::string& before,
                          const std::optional<TokenizerOfData>& b, const std::string& now, const std::string& remedy) {
  if (!a || !b) return;
  if (!(a->identity == b->identity)) {
    throw DataError(fmt::format("{} and {} have different tokenizers: {}, and {}; {}", before, now,
                                tokenizer_text(a->identity), tokenizer_text(b->identity), remedy));
  }
  if (a->end_of_document && b->end_of_document && a->end_of_document != b->end_of_document) {
    throw DataError(
        fmt::format("{} and {} have the tokenizer {}, but documents end with token {} in the one and {} in "
                    "the other; {}",
                    before, now, tokenizer_text(a->identity), *a->end_of_document, *b->end_of_document, remedy));
  }
}

DataTokenizer open_data_tokenizer(const Config& config) {
  const std::optional<Remembered> data = remembered_by(config.training.stages);
  const std::string& name = config.data.tokenizer;
  DataTokenizer out;
  if (data) out.made_by = data->tokenizer;
  if (name.empty() && data) out.text = kept_beside(*data);
  if (!name.empty() && name != kNone) {
    out.text = make_tokenizer(name);
    const TokenizerOfData named{out.text->identity(), out.text->end_of_document()};
    if (data) {
      // The end of a document may have been chosen when the data were prepared.
      check_same_tokenizer(data->tokenizer, "the data " + printable_name(data->prefix),
                           TokenizerOfData{named.identity, {}}, "data.tokenizer",
                           "leave out data.tokenizer to use that of the data, or prepare the data with this one");
    } else {
      out.made_by = named;
    }
  }
  if (out.made_by) check_fits(*out.made_by, config);
  return out;
}

void check_shows_text(const DataTokenizer& tokenizer, const Config& config) {
  if (tokenizer.text || config.validation.sample_tokens == 0) return;
  throw ConfigurationError(fmt::format(
      "validation.sample_tokens is {}, but the tokenizer of the data is not known or its file is not beside them: name "
      "it in data.tokenizer (\"bytes\" or a tokenizer.json), or set validation.sample_tokens to 0 to show no text",
      config.validation.sample_tokens));
}

}  // namespace ropewalk
