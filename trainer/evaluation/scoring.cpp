#include "trainer/evaluation/scoring.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/error.h"
#include "kernels/range.h"

namespace ropewalk {
namespace {

// What the ranks sum: each number is added by one context rank, the others add 0. So the sums are exact.
class Tally {
 public:
  explicit Tally(std::span<const ScoringRequest> requests) {
    for (const ScoringRequest& request : requests)
      begins_.push_back(begins_.back() + static_cast<size_t>(request.targets));
    numbers_.resize(begins_.back() + requests.size() + 1);
  }

  size_t begin(size_t request) const { return begins_[request]; }  // index of its first target among all targets
  double& loss(size_t target) { return numbers_[target]; }
  double& not_greedy(size_t request) { return numbers_[begins_.back() + request]; }  // targets that are not
  double& stopped() { return numbers_.back(); }

  void sum_over(Communicator& group) { sum_each(group, numbers_); }

  ScoringAnswer answer(size_t request) {
    ScoringAnswer out{.token_logprobs = {}, .is_greedy = not_greedy(request) == 0};
    for (size_t target = begins_[request]; target < begins_[request + 1]; ++target)
      out.token_logprobs.push_back(0.0 - loss(target));  // not -0 where the loss is 0
    return out;
  }

 private:
  std::vector<size_t> begins_ = {0};
  std::vector<double> numbers_;
};

// The sequence of a pack. target_at[i]: the request of the target at position i, and its index in the tally.
struct PackedSequence {
  struct Target {
    size_t request, index;
  };
  Sample sample;
  std::vector<Target> target_at;
};

PackedSequence sequence_of(const RequestPack& pack, std::span<const ScoringRequest> requests, const Tally& tally) {
  PackedSequence out;
  Sample& sample = out.sample;
  for (const size_t index : pack.requests) {
    const ScoringRequest& request = requests[index];
    const auto begin = static_cast<int32_t>(sample.tokens.size());
    const int64_t first_target = request.length() - request.targets;
    for (int64_t i = 0; i < request.length(); ++i) {
      const bool scored = i >= first_target;
      sample.tokens.push_back(request.tokens[static_cast<size_t>(i)]);
      sample.targets.push_back(scored ? request.tokens[static_cast<size_t>(i) + 1] : -1);
      sample.document_begin.push_back(begin);
      out.target_at.push_back({index, scored ? tally.begin(index) + static_cast<size_t>(i - first_target) : 0});
    }
  }
  return out;
}

// Whether any rank that shares this rank's sequences is asked to stop.
bool stops(const Mesh& mesh, const ScoringOptions& options) {
  return options.stop_requested && any_of(mesh.tensor(), any_of(mesh.sequence(), options.stop_requested()));
}

void check_finite(const ScoringRequest& request, const ScoringAnswer& answer) {
  const auto wrong = std::ranges::find_if(answer.token_logprobs, [](double x) { return !std::isfinite(x); });
  if (wrong == answer.token_logprobs.end()) return;
  throw NumericalError(
      fmt::format("the request in line {}: the log-probability of token {} of the continuation is {}, and JSON has no "
                  "such number; check the checkpoint's weights, and what --set changes",
                  request.line, wrong - answer.token_logprobs.begin() + 1, *wrong));
}

}  // namespace

double ScoringAnswer::logprob() const { return std::accumulate(token_logprobs.begin(), token_logprobs.end(), 0.0); }

std::string ScoringAnswer::json() const {
  return fmt::format("{{\"logprob\": {}, \"token_logprobs\": [{}], \"is_greedy\": {}}}", logprob(),
                     fmt::join(token_logprobs, ", "), is_greedy);
}

std::vector<RequestPack> pack_requests(std::span<const ScoringRequest> requests, int64_t most_tokens) {
  std::vector<size_t> order(requests.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater(), [&](size_t i) { return requests[i].length(); });
  std::vector<RequestPack> packs;
  for (const size_t i : order) {
    if (packs.empty() || packs.back().length + requests[i].length() > most_tokens) packs.emplace_back();
    packs.back().requests.push_back(i);
    packs.back().length += requests[i].length();
  }
  return packs;
}

int64_t longest_sequence(const RequestTotals& totals, int64_t batch_tokens, int context_parallel) {
  return round_up(std::min(totals.tokens, std::max(totals.longest, batch_tokens)), 2 * context_parallel);
}

std::optional<std::vector<ScoringAnswer>> score(const Predictor& predictor, const Mesh& mesh,
                                                std::span<const ScoringRequest> requests,
                                                const ScoringOptions& options) {
  RequestTotals totals;
  for (const ScoringRequest& request : requests) totals.add(request);
  const int data_ranks = mesh.shape().data_parallel;
  const int64_t share = (totals.tokens + data_ranks - 1) / data_ranks;  // so that few requests are shared, too
  const std::vector<RequestPack> packs = pack_requests(requests, std::min(options.batch_tokens, share));
  Tally tally(requests);
  for (size_t i = static_cast<size_t>(mesh.data_rank()); i < packs.size(); i += static_cast<size_t>(data_ranks)) {
    if (stops(mesh, options)) {
      tally.stopped() = 1;
      break;
    }
    const PackedSequence packed = sequence_of(packs[i], requests, tally);
    const SequenceLayout layout(packs[i].length, mesh.shape().context_parallel);
    for (const TokenLoss& token : predictor.losses({&packed.sample, 1}, layout)) {
      const auto& [request, index] = packed.target_at[static_cast<size_t>(token.position)];
      tally.loss(index) = token.loss;
      if (!token.is_greedy) tally.not_greedy(request) += 1;
    }
    if (options.progress) options.progress(packs[i].length);
  }
  tally.sum_over(mesh.gradient());
  if (tally.stopped() > 0) return std::nullopt;
  std::vector<ScoringAnswer> answers;
  for (size_t i = 0; i < requests.size(); ++i) {
    answers.push_back(tally.answer(i));
    check_finite(requests[i], answers.back());
  }
  return answers;
}

}  // namespace ropewalk
