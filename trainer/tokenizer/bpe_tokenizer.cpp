#include "trainer/tokenizer/bpe_tokenizer.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "kernels/error.h"
#include "trainer/text/format.h"
#include "trainer/text/utf8.h"

namespace ropewalk {
namespace {

// What the tokenizer and its encoders share; it does not change.
struct Tables {
  std::unique_ptr<Normalizer> normalizer;  // null: none
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  AddedTokenSet raw, normalized;
  BytePairEncoding encoding;
};

std::string normalized_text(const Normalizer* normalizer, const std::string& text) {
  if (!normalizer) return text;
  std::string out;
  normalizer->make_stream()->append(text, {}, out);
  return out;
}

AddedTokenSet added_tokens(const std::vector<AddedToken>& tokens, bool normalized, const Normalizer* normalizer) {
  std::vector<AddedToken> chosen;
  for (AddedToken token : tokens) {
    if (token.normalized != normalized) continue;
    if (normalized) token.content = normalized_text(normalizer, token.content);
    if (token.content.empty())
      throw DataError(fmt::format("added_tokens: the normalizer leaves nothing of the token with id {}", token.id));
    for (const AddedToken& other : chosen)
      if (other.content == token.content)
        throw DataError(fmt::format("added_tokens: those with ids {} and {} are the same after the normalizer: {}",
                                    other.id, token.id, in_quotes(token.content)));
    chosen.push_back(std::move(token));
  }
  return AddedTokenSet(std::move(chosen));
}

BytePairEncoding encoding_of(const TokenizerFile& file) {
  std::array<int32_t, 256> byte_ids{};
  std::unordered_map<std::string, int32_t> whole_tokens;
  for (size_t id = 0; id < file.tokens.size(); ++id) {
    const auto& [bytes, is_of_model] = file.tokens[id];
    if (!is_of_model) continue;
    if (bytes.size() == 1) byte_ids[static_cast<uint8_t>(bytes.front())] = static_cast<int32_t>(id);
    if (file.ignore_merges) whole_tokens.emplace(bytes, static_cast<int32_t>(id));
  }
  return {byte_ids, file.merges, std::move(whole_tokens)};
}

// The last two stages, for text between added tokens.
class TextStage {
 public:
  explicit TextStage(const Tables& tables)
      : encoding_(tables.encoding), splitter_(tables.pre_tokenizer->make_splitter()) {}

  void append(std::string_view text, bool ends, std::vector<int32_t>& ids) {
    if (held_.empty()) {
      held_ = text.substr(encode(text, ends, ids));
    } else {
      held_ += text;
      // Text that was held back is scanned again only when it has doubled, so that its length counts once.
      if (!ends && held_.size() < 2 * tried_) return;
      held_.erase(0, encode(held_, ends, ids));
    }
    tried_ = held_.size();
    begins_ = begins_ || ends;
  }

 private:
  // A window at a time, so that its pre-tokens stay in the processor's cache. Returns the bytes that are done.
  size_t encode(std::string_view text, bool ends, std::vector<int32_t>& ids) {
    size_t done = 0;
    for (size_t window = kWindow; done < text.size();) {
      std::string_view part = text.substr(done, window);
      const bool is_last = part.size() == text.size() - done;
      if (!is_last) part = part.substr(0, length_in_whole_characters(part));
      pre_tokens_.clear();
      const size_t used = splitter_->split(part, {begins_, ends && is_last}, pre_tokens_);
      cache_.encode(encoding_, pre_tokens_.pieces, ids);
      done += used;
      begins_ = begins_ && used == 0;
      if (is_last) break;
      window = used == 0 ? 2 * window : kWindow;
    }
    return done;
  }

  static constexpr size_t kWindow = 16 << 10;
  const BytePairEncoding& encoding_;
  std::unique_ptr<Splitter> splitter_;
  std::string held_;
  size_t tried_ = 0;    // bytes of held_ that are known to be uncertain
  bool begins_ = true;  // no text of this stretch is done
  PreTokens pre_tokens_;
  PieceCache cache_;
};

class NormalizerStage {
 public:
  explicit NormalizerStage(const Normalizer* normalizer) : stream_(normalizer ? normalizer->make_stream() : nullptr) {}

  // `out` is called with the normalized text that is certain; with `ends` once for each text.
  void append(std::string_view text, AddedTokens added, bool ends, const auto& out) {
    if (!stream_) return out(text, added, ends);
    // If a part of the text may not become special tokens, none of it does: characters move when they are normalized.
    if (added == AddedTokens::kAsText) added_ = added;
    normalized_.clear();
    stream_->append(text, {begins_, ends}, normalized_);
    begins_ = ends;
    out(normalized_, added_, ends);
    if (ends) added_ = AddedTokens::kRecognize;
  }

 private:
  std::unique_ptr<NormalizerStream> stream_;  // null: text stays as it is
  std::string normalized_;
  bool begins_ = true;
  AddedTokens added_ = AddedTokens::kRecognize;
};

class BpeEncoder : public Encoder {
 public:
  explicit BpeEncoder(const Tables& tables)
      : normalizer_(tables.normalizer.get()),
        text_(tables),
        in_normalized_(tables.normalized,
                       {[this](std::string_view text, AddedTokens, bool ends) { text_.append(text, ends, *ids_); },
                        [this](int32_t id) { ids_->push_back(id); }}),
        in_raw_(tables.raw, {[this](std::string_view text, AddedTokens added, bool ends) {
                               normalizer_.append(text, added, ends,
                                                  [this](std::string_view out, AddedTokens as, bool end) {
                                                    in_normalized_.append(out, as, end);
                                                  });
                             },
                             [this](int32_t id) { ids_->push_back(id); }}) {}

  void append(std::string_view piece, AddedTokens added, std::vector<int32_t>& ids) override {
    ids_ = &ids;
    if (!cut_.empty() && !piece.empty()) {  // the first bytes of a character, and more of it
      if (added == AddedTokens::kAsText) cut_added_ = added;
      const size_t missing = std::min(missing_bytes(), piece.size());
      cut_ += piece.substr(0, missing);
      piece.remove_prefix(missing);
      if (length_in_whole_characters(cut_) < cut_.size()) return;
      take(std::exchange(cut_, {}), cut_added_);
    }
    if (!cut_.empty()) return;
    const size_t whole = length_in_whole_characters(piece);
    take(piece.substr(0, whole), added);
    cut_ = piece.substr(whole);
    cut_added_ = added;
  }

  void finish(std::vector<int32_t>& ids) override {
    ids_ = &ids;
    if (!cut_.empty()) refuse_utf8();
    in_raw_.append({}, AddedTokens::kRecognize, true);
  }

 private:
  [[noreturn]] static void refuse_utf8() { throw DataError("the text is not valid UTF-8"); }

  void take(std::string_view text, AddedTokens added) {
    if (!is_utf8(text)) refuse_utf8();
    if (!text.empty()) in_raw_.append(text, added, false);
  }

  size_t missing_bytes() const {  // of the character that cut_ begins
    const auto first = static_cast<uint8_t>(cut_.front());
    const size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    return length - cut_.size();
  }

  std::string cut_;
  AddedTokens cut_added_ = AddedTokens::kRecognize;
  std::vector<int32_t>* ids_ = nullptr;  // of the call under way
  NormalizerStage normalizer_;
  TextStage text_;
  AddedTokenFinder in_normalized_, in_raw_;
};

class BpeTokenizer : public Tokenizer {
 public:
  BpeTokenizer(const TokenizerFile& file, std::string name, std::optional<int32_t> end_of_document)
      : tables_(tables_of(file)),
        tokens_(file.tokens),
        added_(file.added),
        special_ids_(file.special_ids),
        end_of_document_(end_of_document),
        identity_{std::move(name), hash_of(file), std::ssize(file.tokens)} {}

  std::unique_ptr<Encoder> make_encoder() const override { return std::make_unique<BpeEncoder>(tables_); }

  std::string decode(std::span<const int32_t> ids, Special special) const override {
    std::string text;
    for (const int32_t id : ids) {
      if (id < 0 || id >= vocabulary_size()) {
        text += "\xEF\xBF\xBD";
      } else if (special == Special::kWrite || !is_special(id)) {
        text += tokens_[static_cast<size_t>(id)].bytes;
      }
    }
    return text;
  }

  int64_t vocabulary_size() const override { return std::ssize(tokens_); }
  std::optional<int32_t> end_of_document() const override { return end_of_document_; }
  std::optional<int32_t> added_token(std::string_view text) const override {
    const auto found = std::ranges::find(added_, text, &AddedToken::content);
    return found == added_.end() ? std::nullopt : std::optional(found->id);
  }
  Template special_ids() const override { return special_ids_; }
  TokenizerIdentity identity() const override { return identity_; }

 private:
  static Tables tables_of(const TokenizerFile& file) {
    std::unique_ptr<Normalizer> normalizer = file.normalizer.empty() ? nullptr : make_normalizer(file.normalizer);
    const Normalizer* const by = normalizer.get();
    return {std::move(normalizer), make_pre_tokenizer(file.pre_tokenizer), added_tokens(file.added, false, by),
            added_tokens(file.added, true, by), encoding_of(file)};
  }

  bool is_special(int32_t id) const {
    const auto found = std::ranges::lower_bound(added_, id, {}, &AddedToken::id);
    return found != added_.end() && found->id == id && found->special;
  }

  Tables tables_;
  std::vector<TokenizerFile::Token> tokens_;  // by id
  std::vector<AddedToken> added_;             // by id
  Template special_ids_;
  std::optional<int32_t> end_of_document_;
  TokenizerIdentity identity_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_bpe_tokenizer(const TokenizerFile& file, std::string name,
                                              const std::string& end_of_document) {
  std::optional<int32_t> end;
  if (!end_of_document.empty()) {
    const auto found = std::ranges::find(file.added, end_of_document, &AddedToken::content);
    if (found == file.added.end())
      throw ConfigurationError(fmt::format("{} has no added token {} to end documents with", printable_name(name),
                                           in_quotes(end_of_document)));
    end = found->id;
  }
  return std::make_unique<BpeTokenizer>(file, std::move(name), end);
}

}  // namespace ropewalk
