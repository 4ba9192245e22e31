// Requests for scoring: how likely is a continuation after a context? A file of requests has one JSON object a line,
//
//     {"context": "The sky is", "continuation": " blue"}         text, for which a tokenizer is needed
//     {"context_ids": [5, 17], "continuation_ids": [42]}         or token ids
//
// Other members are ignored, and so are blank lines.
//
// Text is encoded as lm-evaluation-harness encodes it (lm_eval/api/model.py, _encode_pair): context and continuation
// together, then the tokens after the first n, where n is the number of tokens of the context alone, are the
// continuation. The two ways to cut differ only if the tokenizer merges across the boundary. Unlike there, white space
// at the end of the context stays in the context. An empty context stands for the tokenizer's end_of_document(), which
// precedes a document in training data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/text_blocks.h"
#include "trainer/tokenizer/tokenizer.h"

namespace ropewalk {

struct ScoringRequest {
  int64_t line = 0;             // of the file, from 1
  std::vector<int32_t> tokens;  // the context, then the continuation; each has at least one
  int64_t targets = 0;          // number of tokens of the continuation

  int64_t length() const { return std::ssize(tokens) - 1; }  // tokens that the model reads: the last is only a target
  bool operator==(const ScoringRequest&) const = default;
};

// Reads a file from its beginning to its end. It holds a block of text at a time, or the longest line.
class ScoringRequests {
 public:
  // tokenizer: for requests in text; null: they are an error. vocabulary: ids must be less. Throws DataError if the
  // file cannot be opened, or is no regular file (it is read more than once).
  ScoringRequests(const std::string& file, const Tokenizer* tokenizer, int64_t vocabulary);

  // The next request; nullopt at the end. Throws DataError, "FILE:LINE: what is wrong", for a line that is no request.
  std::optional<ScoringRequest> next();

 private:
  std::string_view next_line();  // that is not blank; empty at the end

  std::string file_;
  const Tokenizer* tokenizer_;
  int64_t vocabulary_;
  TextBlocks blocks_;
  std::string_view block_;  // the rest of the current block
  int64_t line_ = 0;        // number of the last line that was read
};

// What a file of requests asks for.
struct RequestTotals {
  int64_t requests = 0;
  int64_t tokens = 0;   // the sum of ScoringRequest::length()
  int64_t longest = 0;  // the largest length()
  void add(const ScoringRequest& request);
  bool operator==(const RequestTotals&) const = default;
};

// The next requests of the file, of together at least `tokens` tokens unless the file ends before, as bytes to send to
// other ranks; empty at the end of the file.
std::string read_requests(ScoringRequests& file, int64_t tokens);
// The requests in the bytes that read_requests() returned.
std::vector<ScoringRequest> requests_in(std::string_view bytes);

}  // namespace ropewalk
