#include "trainer/inference/generate.h"

#include <algorithm>

namespace ropewalk {

Generator::Generator(const Predictor& predictor, int64_t slots, int64_t length)
    : predictor_(predictor),
      scope_(predictor.replica().rank.arena),
      cache_(predictor.replica().config.model, predictor.replica().rank, slots, length),
      sequences_(static_cast<size_t>(slots)) {}

int64_t Generator::first_free_slot() const {
  return std::ranges::find_if(sequences_, [](const auto& sequence) { return !sequence; }) - sequences_.begin();
}
bool Generator::has_free_slot() const { return first_free_slot() < std::ssize(sequences_); }

int64_t Generator::admit(const GenerationRequest& request) {
  const int64_t length = std::ssize(request.prompt) + request.tokens;
  CHECK(!request.prompt.empty() && request.tokens >= 1, "a prompt of {} tokens to continue by {}",
        request.prompt.size(), request.tokens);
  CHECK(length <= cache_.length(), "a sequence of {} tokens in slots for {}", length, cache_.length());
  CHECK(has_free_slot(), "none of {} slots is free", sequences_.size());
  const int64_t slot = first_free_slot();
  sequences_[static_cast<size_t>(slot)] = Sequence{request};
  draw_tokens({&slot, 1}, predictor_.next_token_logits(request.prompt, &cache_, slot));
  return slot;
}

void Generator::step() {
  std::vector<int64_t> slots;
  std::vector<NewToken> tokens;
  for (size_t slot = 0; slot < sequences_.size(); ++slot) {
    const std::optional<Sequence>& sequence = sequences_[slot];
    if (!sequence || sequence->ended) continue;
    const std::vector<int32_t>& drawn = sequence->result.tokens;
    slots.push_back(static_cast<int64_t>(slot));
    tokens.push_back({slots.back(), std::ssize(sequence->request.prompt) + std::ssize(drawn) - 1, drawn.back()});
  }
  if (!slots.empty()) draw_tokens(slots, predictor_.next_token_logits(tokens, cache_));
}

// One rank draws for all, so that ranks cannot disagree even if their logits did.
void Generator::draw_tokens(std::span<const int64_t> slots, std::span<const double> logits) {
  struct Drawn {
    double token, log_probability, is_done;
  };
  std::vector<Drawn> drawn(slots.size());
  const Mesh& mesh = predictor_.replica().rank.mesh;
  const auto V = static_cast<size_t>(predictor_.replica().config.model.vocabulary);
  if (mesh.context_rank() == 0 && mesh.tensor_rank() == 0 && !logits.empty())
    for (size_t i = 0; i < slots.size(); ++i) {
      const Sequence& sequence = *sequences_[static_cast<size_t>(slots[i])];
      std::vector<int32_t> tokens = sequence.result.tokens;
      const Draw next = draw(logits.subspan(i * V, V), sequence.request.sampling, std::ssize(tokens));
      tokens.push_back(next.token);
      const bool done =
          next.token != sequence.request.end && sequence.request.is_done && sequence.request.is_done(tokens);
      drawn[i] = {static_cast<double>(next.token), next.log_probability, static_cast<double>(done)};
    }
  const Tensor all(drawn.data(), DType::kF64, Device{}, {3 * std::ssize(drawn)});
  mesh.sequence().broadcast(all, 0);
  mesh.tensor().broadcast(all, 0);

  for (size_t i = 0; i < slots.size(); ++i) {
    Sequence& sequence = *sequences_[static_cast<size_t>(slots[i])];
    Generation& result = sequence.result;
    const auto token = static_cast<int32_t>(drawn[i].token);
    const auto end = [&](GenerationEnd how) {
      sequence.ended = true;
      result.end = how;
    };
    if (token == sequence.request.end) {
      end(GenerationEnd::kEndToken);
      continue;
    }
    result.tokens.push_back(token);
    result.log_probabilities.push_back(drawn[i].log_probability);
    if (drawn[i].is_done != 0)
      end(GenerationEnd::kIsDone);
    else if (std::ssize(result.tokens) == sequence.request.tokens)
      end(GenerationEnd::kLength);
  }
}

bool Generator::has_ended(int64_t slot) const {
  const std::optional<Sequence>& sequence = sequences_[static_cast<size_t>(slot)];
  return sequence && sequence->ended;
}

Generation Generator::retire(int64_t slot) {
  CHECK(has_ended(slot), "slot {} has no sequence that has ended", slot);
  std::optional<Sequence>& sequence = sequences_[static_cast<size_t>(slot)];
  Generation result = std::move(sequence->result);
  sequence.reset();
  return result;
}

std::vector<Generation> generate(const Predictor& predictor, std::span<const GenerationRequest> requests,
                                 int64_t batch) {
  CHECK(batch >= 1, "batches of {} requests", batch);
  int64_t length = 0;
  for (const GenerationRequest& request : requests)
    length = std::max(length, std::ssize(request.prompt) + request.tokens);
  const int64_t slots = std::min(batch, std::ssize(requests));
  Generator generator(predictor, slots, length);
  std::vector<Generation> results(requests.size());
  std::vector<size_t> request_of(static_cast<size_t>(slots));
  size_t admitted = 0, ended = 0;
  while (ended < requests.size()) {
    for (; admitted < requests.size() && generator.has_free_slot(); ++admitted)
      request_of[static_cast<size_t>(generator.admit(requests[admitted]))] = admitted;
    generator.step();
    for (int64_t slot = 0; slot < slots; ++slot)
      if (generator.has_ended(slot)) {
        results[request_of[static_cast<size_t>(slot)]] = generator.retire(slot);
        ++ended;
      }
  }
  return results;
}

}  // namespace ropewalk
