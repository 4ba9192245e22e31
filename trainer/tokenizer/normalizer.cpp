// Normalizers. Normal forms are Unicode Standard Annex #15, by ICU, restricted to the characters of Unicode 9.0: those
// are all that the crate of Hugging Face's tokenizers 0.23.3 (unicode-normalization-alignments) knows. Later characters
// stay as they are and end sequences of marks.
#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uniset.h>

#include <algorithm>
#include <optional>

#include "kernels/error.h"
#include "trainer/text/utf8.h"
#include "trainer/tokenizer/pre_tokenizer.h"
#include "trainer/tokenizer/split_step.h"

namespace ropewalk {
namespace {

using Kind = NormalizerStep::Kind;

void check_icu(UErrorCode code) {
  if (U_FAILURE(code)) throw DataError(fmt::format("ICU cannot normalize text: {}", u_errorName(code)));
}

class Prepend : public NormalizerStream {
 public:
  explicit Prepend(std::string text) : text_(std::move(text)) {}
  void append(std::string_view text, PartOfText part, std::string& out) override {
    if (part.begins) begun_ = false;
    if (!begun_ && !text.empty()) {  // an empty text stays empty
      out += text_;
      begun_ = true;
    }
    out += text;
  }

 private:
  std::string text_;
  bool begun_ = false;
};

class Replace : public NormalizerStream {
 public:
  Replace(std::string text, std::string replacement)
      : finder_(make_literal_finder(std::move(text))), replacement_(std::move(replacement)) {}
  void append(std::string_view text, PartOfText part, std::string& out) override {
    if (part.begins) held_.clear();
    held_ += text;
    size_t at = 0;
    for (;;) {
      const Finder::Found found = finder_->find(held_, at, part.ends);
      out.append(held_, at, found.begin - at);
      at = found.end;
      if (found.end == found.begin) break;
      out += replacement_;
    }
    held_.erase(0, at);
  }

 private:
  std::unique_ptr<Finder> finder_;
  std::string replacement_;
  std::string held_;  // the beginning of what may be replaced
};

// One of the four normal forms. Immutable. The parts of a text are the pieces of it that normalize independently: a
// character and its marks.
class NormalForm {
 public:
  explicit NormalForm(Kind kind) : known_(u"[:age=9.0:]", error_) {
    const bool compatible = kind == Kind::kNfkc || kind == Kind::kNfkd;
    composes_ = kind == Kind::kNfc || kind == Kind::kNfkc;
    known_.freeze();
    const icu::Normalizer2* decomposing =
        compatible ? icu::Normalizer2::getNFKDInstance(error_) : icu::Normalizer2::getNFDInstance(error_);
    const icu::Normalizer2* composing =
        compatible ? icu::Normalizer2::getNFKCInstance(error_) : icu::Normalizer2::getNFCInstance(error_);
    check_icu(error_);
    decomposed_.emplace(*decomposing, known_);
    form_.emplace(composes_ ? *composing : *decomposing, known_);
  }

  bool begins_part(UChar32 character) const { return form_->hasBoundaryBefore(character); }

  // Appends the normal form of a whole text, or of whole parts.
  void normalize(std::string_view text, std::string& out) const {
    if (!has_long_part(text)) return append_form(text, out);
    const std::string sorted = decompose(text);  // ICU sorts by insertion, in a time of n^2
    composes_ ? append_form(sorted, out) : static_cast<void>(out += sorted);
  }

  // The character at `at`, which becomes the position of the next one.
  static UChar32 character_at(std::string_view text, size_t& at) {
    UChar32 character = 0;
    U8_NEXT_UNSAFE(reinterpret_cast<const uint8_t*>(text.data()), at, character);
    return character;
  }

 private:
  static constexpr size_t kSample = 2048;  // bytes; a character of real text and its marks have less than 100

  // Whether a part has more than 2 * kSample bytes: then one of the samples has no beginning of a part.
  bool has_long_part(std::string_view text) const {
    for (size_t begin = kSample; begin + kSample < text.size(); begin += kSample) {
      size_t at = begin;
      while (U8_IS_TRAIL(text[at])) ++at;
      size_t next = at;
      while (at < begin + kSample && !begins_part(character_at(text, next))) at = next;
      if (at >= begin + kSample) return true;
    }
    return false;
  }

  void append_form(std::string_view text, std::string& out) const {
    if (text.size() > INT32_MAX) throw DataError("a text has more than 2 GiB of marks on one character");
    UErrorCode error = U_ZERO_ERROR;
    icu::StringByteSink<std::string> sink(&out);
    form_->normalizeUTF8(0, icu::StringPiece(text.data(), static_cast<int32_t>(text.size())), sink, nullptr, error);
    check_icu(error);
  }

  // The canonical (or compatible) decomposition: that of each character, and then the marks of each run in the order of
  // their classes.
  std::string decompose(std::string_view text) const {
    std::vector<std::pair<uint8_t, UChar32>> run;  // canonical combining class and character
    std::string out;
    const auto flush = [&] {
      std::ranges::stable_sort(run, {}, &std::pair<uint8_t, UChar32>::first);
      for (const auto& [order, mark] : run) append_utf8(mark, out);
      run.clear();
    };
    icu::UnicodeString parts;
    for (size_t at = 0; at < text.size();) {
      const UChar32 character = character_at(text, at);
      if (!decomposed_->getDecomposition(character, parts)) parts = character;
      for (int32_t i = 0; i < parts.length(); i = parts.moveIndex32(i, 1)) {
        const uint8_t order = decomposed_->getCombiningClass(parts.char32At(i));
        if (order == 0) flush();
        run.emplace_back(order, parts.char32At(i));
      }
    }
    flush();
    return out;
  }

  static void append_utf8(UChar32 character, std::string& out) {
    char bytes[U8_MAX_LENGTH];
    size_t length = 0;
    U8_APPEND_UNSAFE(bytes, length, character);
    out.append(bytes, length);
  }

  UErrorCode error_ = U_ZERO_ERROR;
  icu::UnicodeSet known_;
  bool composes_ = false;
  std::optional<icu::FilteredNormalizer2> decomposed_, form_;
};

class FormStream : public NormalizerStream {
 public:
  explicit FormStream(const NormalForm& form) : form_(form) {}

  void append(std::string_view text, PartOfText part, std::string& out) override {
    if (part.begins) held_.clear();
    while (text.size() > kMostAtOnce) {
      const size_t length = length_in_whole_characters(text.substr(0, kMostAtOnce));
      append_some(text.substr(0, length), false, out);
      text.remove_prefix(length);
    }
    append_some(text, part.ends, out);
  }

 private:
  static constexpr size_t kMostAtOnce = 1 << 20;  // bytes; ICU counts in 32 bits

  void append_some(std::string_view text, bool ends, std::string& out) {
    const size_t searched = held_.size();  // no part begins in held_ but at its beginning
    held_ += text;
    const size_t end = ends ? held_.size() : last_part(searched);
    if (end == 0) return;
    form_.normalize(std::string_view(held_).substr(0, end), out);
    held_.erase(0, end);
  }

  // Where the last part begins that begins at `from` or later; 0 if none does.
  size_t last_part(size_t from) const {
    for (size_t at = held_.size(); at > from;) {
      do --at;
      while (U8_IS_TRAIL(held_[at]));
      size_t next = at;
      if (form_.begins_part(NormalForm::character_at(held_, next))) return at;
    }
    return 0;
  }

  const NormalForm& form_;
  std::string held_;  // the last part, which may go on
};

// The output of each stream is the input of the next.
class Sequence : public NormalizerStream {
 public:
  explicit Sequence(std::vector<std::unique_ptr<NormalizerStream>> streams) : streams_(std::move(streams)) {}

  void append(std::string_view text, PartOfText part, std::string& out) override {
    std::string input(text), output;
    for (const auto& stream : streams_) {
      output.clear();
      stream->append(input, part, output);
      std::swap(input, output);
    }
    out += input;
  }

 private:
  std::vector<std::unique_ptr<NormalizerStream>> streams_;
};

class Steps : public Normalizer {
 public:
  explicit Steps(std::vector<NormalizerStep> steps) : steps_(std::move(steps)) {
    for (const NormalizerStep& step : steps_) {
      if (step.kind == Kind::kReplace && step.text.empty())
        throw DataError("a normalizer replaces an empty text, which is not supported");
      const bool is_form = step.kind != Kind::kReplace && step.kind != Kind::kPrepend;
      forms_.push_back(is_form ? std::make_unique<NormalForm>(step.kind) : nullptr);
    }
  }

  std::unique_ptr<NormalizerStream> make_stream() const override {
    std::vector<std::unique_ptr<NormalizerStream>> streams;
    for (size_t i = 0; i < steps_.size(); ++i) streams.push_back(make_step(i));
    if (streams.size() == 1) return std::move(streams.front());
    return std::make_unique<Sequence>(std::move(streams));
  }

 private:
  std::unique_ptr<NormalizerStream> make_step(size_t i) const {
    const NormalizerStep& step = steps_[i];
    if (forms_[i]) return std::make_unique<FormStream>(*forms_[i]);
    if (step.kind == Kind::kPrepend) return std::make_unique<Prepend>(step.text);
    return std::make_unique<Replace>(step.text, step.replacement);
  }

  std::vector<NormalizerStep> steps_;
  std::vector<std::unique_ptr<NormalForm>> forms_;  // of the steps that are one
};

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(std::vector<NormalizerStep> steps) {
  return std::make_unique<Steps>(std::move(steps));
}

}  // namespace ropewalk
