// Text to token ids and back. A Tokenizer is a vocabulary and its rules, immutable, for any number of threads. An
// Encoder has the state of one document, which it is given in pieces, so that a document need never be in memory whole.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ropewalk {

// Encodes one document after another: append() each piece of it in order, then finish().
//
// The ids of a document are a function of its bytes alone, never of how it was cut: what append() and finish() add, put
// together, is the same for every cut. A document is valid UTF-8, but a piece need not be: it may begin and end
// anywhere, within a character too, and may be empty. Text is only text: it never becomes
// end_of_document() or another token of control, whatever it spells; nothing is added that the text does not hold.
//
// To implement: an id is added once no continuation of the document can change it, and at the latest by finish(). What
// is not certain yet is held back: a character that a piece cuts, a word or a run of white space that may go on (after
// "a  " the rule \s+(?!\S) splits the spaces differently before a letter and at the end of the document), merges across
// the cut. Nothing is remembered from one document to the next.
//
// Memory is that of the longest stretch of text within which nothing is certain, a word for most tokenizers, not that
// of the document. Time is linear in the document's bytes, whatever the pieces: what is held back is not gone through
// anew for each.
//
// Throws DataError for a document that it cannot encode, as one that is not UTF-8 if its rules are about characters;
// `prepare` adds the file and the document, and does not skip it.
// After an exception an encoder is good only for destruction.
class Encoder {
 public:
  virtual ~Encoder() = default;
  // Appends to `ids` what has become certain by `piece`, the next bytes of the document.
  virtual void append(std::string_view piece, std::vector<int32_t>& ids) = 0;
  // The document ends here: appends the rest of its ids, without end_of_document(). The next append() begins another.
  virtual void finish(std::vector<int32_t>& ids) = 0;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  // An encoder at the beginning of a document. One thread at a time uses it; it must not outlive the tokenizer.
  virtual std::unique_ptr<Encoder> make_encoder() const = 0;
  // The bytes that the ids stand for, perhaps cut within a character; nothing for end_of_document(), U+FFFD for an id
  // beyond the vocabulary (a model may have more rows than its tokenizer has tokens).
  virtual std::string decode(std::span<const int32_t> ids) const = 0;
  virtual int64_t vocabulary_size() const = 0;  // ids are in [0, vocabulary_size())
  virtual int32_t end_of_document() const = 0;  // the id that ends every document, and belongs to it

  // The ids of a whole document, without end_of_document().
  std::vector<int32_t> encode(std::string_view text) const;
};

}  // namespace ropewalk
