#include "trainer/tokenizer/make_tokenizer.h"

#include <algorithm>

#include "kernels/error.h"

namespace ropewalk {

std::unique_ptr<Tokenizer> make_tokenizer(std::string_view name, const std::optional<std::string>& end_of_document) {
  const auto* kind = std::ranges::find(kTokenizerKinds, name, &TokenizerKind::name);
  if (kind != std::end(kTokenizerKinds)) {
    if (end_of_document)
      throw ConfigurationError(
          fmt::format("the tokenizer '{}' has its own end of a document; leave out '{}'", name, *end_of_document));
    return kind->make();
  }
  std::string names;
  for (const TokenizerKind& known : kTokenizerKinds)
    names += fmt::format("{}'{}'", names.empty() ? "" : ", ", known.name);
  throw ConfigurationError(fmt::format("tokenizer '{}' is not known; choose {}", name, names));
}

std::string tokenizer_choices() {
  std::string choices;
  for (const TokenizerKind& kind : kTokenizerKinds)
    choices += fmt::format("{}{}: {}", choices.empty() ? "" : "; ", kind.name, kind.summary);
  return choices;
}

}  // namespace ropewalk
