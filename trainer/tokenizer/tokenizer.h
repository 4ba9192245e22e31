// Text to token ids and back. A Tokenizer is a vocabulary and its rules; it is immutable, and any number of threads may
// use it. An Encoder has the state of one document. It gets the document in pieces, so that the document need not fit
// in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ropewalk {

// Whether text that spells an added token ("<|endoftext|>") becomes that token, as in Hugging Face's tokenizers, or is
// encoded like any other text. kAsText is for text that a stranger wrote into a form, such as the content of a message.
enum class AddedTokens { kRecognize, kAsText };

// Encodes one document after another: append() for each piece in order, then finish().
//
// The ids of a document depend on its bytes (and which of them may become added tokens) alone, never on how it was cut:
// the ids from append() and finish() together are the same for all cuts. A document is valid UTF-8, but a piece need
// not be: it may begin and end anywhere, even within a character, and may be empty. An added token is recognized only
// if all its bytes are in pieces with kRecognize. append() and finish() add only ids that encode the text.
//
// To implement: add an id as soon as no continuation of the document can change it, and in finish() at the latest. Hold
// back text whose ids are not certain yet: an incomplete character at the end of a piece; a word or white space that
// may continue (after "a  " the rule \s+(?!\S) splits the spaces differently before a letter and at the end of the
// document); merges across the cut. Keep no state from one document to the next.
//
// Memory is bounded by the longest text that must be held back, a word for most tokenizers, not by the document. Time
// is linear in the document's bytes, whatever the pieces: text that was held back is not scanned again for each piece.
//
// Throws DataError for a document that it cannot encode, such as invalid UTF-8 if the tokenizer works on characters.
// prepare() adds file name and document number to the message, and stops. After an exception an encoder may only be
// destroyed.
class Encoder {
 public:
  virtual ~Encoder() = default;
  // Takes the next bytes of the document, and appends to `ids` the ids that are now certain.
  virtual void append(std::string_view piece, AddedTokens added, std::vector<int32_t>& ids) = 0;
  // Ends the document: appends the rest of its ids, without end_of_document(). The next append() begins a new document.
  virtual void finish(std::vector<int32_t>& ids) = 0;
};

// What makes two tokenizers the same: equal identities give equal ids for every text.
struct TokenizerIdentity {
  std::string name;        // "bytes", or the name of the tokenizer's file without its directory
  std::string hash;        // of everything that the ids depend on, in hexadecimal; "" for "bytes"
  int64_t vocabulary = 0;  // vocabulary_size()
  bool operator==(const TokenizerIdentity& other) const {  // a file may be renamed
    return hash == other.hash && vocabulary == other.vocabulary && (!hash.empty() || name == other.name);
  }
};

class Tokenizer {
 public:
  // What decode() does with special tokens, such as the end of a document: nothing, or it writes the token's text.
  enum class Special { kSkip, kWrite };

  virtual ~Tokenizer() = default;
  // An encoder at the beginning of a document. Only one thread at a time may use it; it must not outlive the tokenizer.
  virtual std::unique_ptr<Encoder> make_encoder() const = 0;
  // The bytes of the ids; they may end within a character. An id beyond the vocabulary gives U+FFFD (a model's
  // vocabulary may be larger than its tokenizer's).
  virtual std::string decode(std::span<const int32_t> ids, Special special = Special::kSkip) const = 0;
  virtual int64_t vocabulary_size() const = 0;  // ids are in [0, vocabulary_size())
  // prepare() adds it after every document; an encoder does not. nullopt: the tokenizer's files do not say which it is.
  virtual std::optional<int32_t> end_of_document() const = 0;
  // The id of an added token by its text; nullopt if there is none.
  virtual std::optional<int32_t> added_token(std::string_view text) const = 0;
  // The ids that the tokenizer's template puts around a text, such as the one that begins a document.
  struct Template {
    std::vector<int32_t> before, after;
  };
  virtual Template special_ids() const = 0;
  virtual TokenizerIdentity identity() const = 0;

  // The ids of a whole document, without end_of_document() and special_ids().
  std::vector<int32_t> encode(std::string_view text, AddedTokens added = AddedTokens::kRecognize) const;
};

}  // namespace ropewalk
