#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uniset.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <utility>

#include "kernels/error.h"
#include "trainer/tokenizer/pre_tokenizer.h"

namespace ropewalk {
namespace {

using Step = NormalizerStep;

// Hugging Face's tokenizers normalizes by Unicode 9.0: it leaves younger characters as they are.
constexpr const char* kKnownCharacters = "[:age=9.0:]";
// Sorting the marks after a character takes time that grows with the square of their number.
constexpr int64_t kMostMarks = 10'000;

const icu::Normalizer2& form_of(Step::Kind kind) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* form = kind == Step::Kind::kNfc    ? icu::Normalizer2::getNFCInstance(error)
                                 : kind == Step::Kind::kNfd  ? icu::Normalizer2::getNFDInstance(error)
                                 : kind == Step::Kind::kNfkc ? icu::Normalizer2::getNFKCInstance(error)
                                                             : icu::Normalizer2::getNFKDInstance(error);
  CHECK(U_SUCCESS(error), "ICU has no data of normalization: {}", u_errorName(error));
  return *form;
}

icu::UnicodeSet known_characters() {
  UErrorCode error = U_ZERO_ERROR;
  icu::UnicodeSet set(icu::UnicodeString(kKnownCharacters), error);
  CHECK(U_SUCCESS(error), "ICU does not know {}: {}", kKnownCharacters, u_errorName(error));
  set.freeze();
  return set;
}

bool is_form(const Step& step) { return step.kind != Step::Kind::kPrepend && step.kind != Step::Kind::kReplace; }

bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }

class UnicodeForm {
 public:
  explicit UnicodeForm(Step::Kind kind) : known_(known_characters()), form_(form_of(kind), known_) {}

  void normalize(std::string_view text, std::string& out) const {
    while (!text.empty()) {
      // ASCII stays as it is; only the last character may combine with what follows.
      const auto other = std::ranges::find_if_not(text, is_ascii) - text.begin();
      const size_t plain = static_cast<size_t>(other) < text.size() && other > 0 ? other - 1 : other;
      out += text.substr(0, plain);
      text.remove_prefix(plain);
      size_t length = std::min<size_t>(1, text.size());
      while (length < text.size() && !is_ascii(text[length])) ++length;
      convert(text.substr(0, length), out);
      text.remove_prefix(length);
    }
  }

  // Up to where nothing that follows `text` can change it.
  size_t certain(std::string_view text) const {
    const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
    auto at = static_cast<int32_t>(text.size());
    UChar32 character = 0;
    do {
      if (at == 0) return 0;
      U8_PREV_UNSAFE(bytes, at, character);
    } while (!form_.hasBoundaryBefore(character));
    return static_cast<size_t>(at);
  }

 private:
  void convert(std::string_view text, std::string& out) const {
    if (text.empty()) return;
    check_marks(text);
    UErrorCode error = U_ZERO_ERROR;
    icu::StringByteSink<std::string> sink(&out);
    form_.normalizeUTF8(0, icu::StringPiece(text.data(), static_cast<int32_t>(text.size())), sink, nullptr, error);
    CHECK(U_SUCCESS(error), "ICU cannot normalize {} bytes: {}", text.size(), u_errorName(error));
  }

  void check_marks(std::string_view text) const {
    if (text.size() < kMostMarks) return;
    int64_t marks = 0;
    for (size_t at = 0; at < text.size();) {
      UChar32 character = 0;
      U8_NEXT_UNSAFE(text.data(), at, character);
      marks = form_.hasBoundaryBefore(character) ? 0 : marks + 1;
      if (marks > kMostMarks)
        throw DataError(fmt::format("more than {} combining marks follow one another; is this text?", kMostMarks));
    }
  }

  icu::UnicodeSet known_;
  icu::FilteredNormalizer2 form_;
};

// One Unicode form, which takes a text in parts of any length.
class FormNormalizer : public Normalizer {
 public:
  explicit FormNormalizer(Step::Kind kind) : form_(kind) {}

  size_t normalize(std::string_view text, PartOfText part, std::string& out) const override {
    const size_t used = part.ends ? text.size() : form_.certain(text);
    form_.normalize(text.substr(0, used), out);
    return used;
  }

 private:
  UnicodeForm form_;
};

void replace_all(std::string& text, const std::string& what, const std::string& with) {
  std::string out;
  size_t from = 0;
  for (size_t at = text.find(what); at != text.npos; at = text.find(what, from)) {
    out.append(text, from, at - from).append(with);
    from = at + what.size();
  }
  text = out.append(text, from);
}

// Any steps. Waits for the end of the text, because a later step may look further than an earlier one.
class SteppedNormalizer : public Normalizer {
 public:
  explicit SteppedNormalizer(std::vector<Step> steps) {
    for (Step& step : steps) {
      auto form = is_form(step) ? std::make_unique<UnicodeForm>(step.kind) : nullptr;
      stages_.push_back({std::move(step), std::move(form)});
    }
  }

  size_t normalize(std::string_view text, PartOfText part, std::string& out) const override {
    if (!part.ends) return 0;
    std::string now(text);
    for (const auto& [step, form] : stages_) {
      if (form) {
        std::string changed;
        form->normalize(now, changed);
        now = std::move(changed);
      } else if (step.kind == Step::Kind::kReplace) {
        replace_all(now, step.text, step.replacement);
      } else if (!now.empty()) {
        now.insert(0, step.text);
      }
    }
    out += now;
    return text.size();
  }

 private:
  struct Stage {
    Step step;
    std::unique_ptr<UnicodeForm> form;  // null: step prepends or replaces
  };
  std::vector<Stage> stages_;
};

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(std::vector<NormalizerStep> steps) {
  if (steps.size() == 1 && is_form(steps[0])) return std::make_unique<FormNormalizer>(steps[0].kind);
  return std::make_unique<SteppedNormalizer>(std::move(steps));
}

}  // namespace ropewalk
