// Scores requests: the log-probability of every token of a continuation, given all tokens before it.
//
// Requests are packed into sequences as documents (trainer/data/batch.h): attention does not leave a document, and RoPE
// depends on differences of positions only. So a request's answer depends on the requests beside it by rounding alone,
// and no padding is computed. A long request is a sequence of its own, which the context-parallel ranks share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "parallel/mesh.h"
#include "trainer/evaluation/scoring_request.h"
#include "trainer/inference/predictor.h"

namespace ropewalk {

struct ScoringAnswer {
  std::vector<double> token_logprobs;  // of the continuation's tokens, in nats
  bool is_greedy = false;              // each of these tokens has the largest logit of its row

  double logprob() const;    // the sum
  std::string json() const;  // {"logprob": ..., "token_logprobs": [...], "is_greedy": ...}
  bool operator==(const ScoringAnswer&) const = default;
};

// Requests that make one sequence, in this order.
struct RequestPack {
  std::vector<size_t> requests;  // indices
  int64_t length = 0;            // tokens of the sequence
};
// Packs the requests, longest first, into sequences of at most `most_tokens` tokens; a longer request is alone.
std::vector<RequestPack> pack_requests(std::span<const ScoringRequest> requests, int64_t most_tokens);
// An upper bound on the length of a sequence, for any part of these requests; a multiple of 2 x context_parallel, for
// which every rank needs at least the memory that it needs for a shorter one.
int64_t longest_sequence(const RequestTotals& totals, int64_t batch_tokens, int context_parallel);

struct ScoringOptions {
  int64_t batch_tokens = 8192;                      // of a sequence with more than one request
  std::function<bool()> stop_requested = nullptr;   // asked before each sequence; null: never, on every rank
  std::function<void(int64_t)> progress = nullptr;  // called with the tokens of each sequence that this rank has done
};

// The answers, in the order of the requests, on all ranks; nullopt if any rank was asked to stop. The data-parallel
// ranks share the sequences. Throws NumericalError, naming the request's line, if a log-probability is not finite.
// Collective over the mesh; all ranks pass the same requests and batch_tokens.
std::optional<std::vector<ScoringAnswer>> score(const Predictor& predictor, const Mesh& mesh,
                                                std::span<const ScoringRequest> requests,
                                                const ScoringOptions& options);

}  // namespace ropewalk
