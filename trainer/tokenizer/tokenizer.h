// Text to token ids and back. A Tokenizer is a vocabulary and its rules; it is immutable, and any number of threads may
// use it. An Encoder has the state of one document. It gets the document in pieces, so that the document need not fit
// in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ropewalk {

// Encodes one document after another: append() for each piece in order, then finish().
//
// The ids of a document depend on its bytes alone, never on how it was cut: the ids from append() and finish() together
// are the same for all cuts. A document is valid UTF-8, but a piece need not be: it may begin and end anywhere, even
// within a character, and may be empty. Text never becomes end_of_document() or another special token, whatever it
// spells. append() and finish() add only ids that encode the text.
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
  virtual void append(std::string_view piece, std::vector<int32_t>& ids) = 0;
  // Ends the document: appends the rest of its ids, without end_of_document(). The next append() begins a new document.
  virtual void finish(std::vector<int32_t>& ids) = 0;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  // An encoder at the beginning of a document. Only one thread at a time may use it; it must not outlive the tokenizer.
  virtual std::unique_ptr<Encoder> make_encoder() const = 0;
  // The bytes of the ids; they may end within a character. end_of_document() gives no bytes. An id beyond the
  // vocabulary gives U+FFFD (a model's vocabulary may be larger than its tokenizer's).
  virtual std::string decode(std::span<const int32_t> ids) const = 0;
  virtual int64_t vocabulary_size() const = 0;  // ids are in [0, vocabulary_size())
  virtual int32_t end_of_document() const = 0;  // prepare() adds it after every document; an encoder does not

  // The ids of a whole document, without end_of_document().
  std::vector<int32_t> encode(std::string_view text) const;
};

}  // namespace ropewalk
