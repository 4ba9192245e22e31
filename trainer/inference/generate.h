// Continuations of prompts. A prompt goes through the model once, as in training; then each new token takes one pass
// over the new tokens of all sequences, which reads earlier keys and values from a cache.
//
// A request's result does not depend on the other requests, on the slot, or on when it is admitted; on host backends
// this holds for every bit. All functions here are collective over mesh.tensor() and mesh.sequence(), with the same
// arguments on all ranks; results are the same on all ranks. Each data rank generates for itself.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "trainer/inference/predictor.h"
#include "trainer/inference/sampling.h"

namespace ropewalk {

struct GenerationRequest {
  std::vector<int32_t> prompt;  // at least one token
  int64_t tokens = 200;         // generates at most this many, at least 1
  Sampling sampling = {};
  int32_t end = -1;  // stops before this token; -1: never
  // Called with the continuation after each token; true: stops after it. Called on one rank only, so it may be null on
  // the others; must not communicate. Null: never stops.
  std::function<bool(std::span<const int32_t> tokens)> is_done = {};
};

enum class GenerationEnd { kEndToken, kIsDone, kLength };

struct Generation {
  std::vector<int32_t> tokens;            // without the prompt and the end token
  std::vector<double> log_probabilities;  // of each, as Draw::log_probability
  GenerationEnd end = GenerationEnd::kLength;
};

// Generates for several requests at once, each in a slot: admit() puts a request into a free slot, step() adds a token
// to every sequence that has not ended, retire() takes a result and frees the slot.
class Generator {
 public:
  // Sequences have at most `length` tokens, prompt and continuation. Takes the cache's memory from the arena, and
  // releases it in the destructor.
  Generator(const Predictor& predictor, int64_t slots, int64_t length);
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  bool has_free_slot() const;
  // Returns the slot: the first free one, of which there must be one. Draws the first token.
  int64_t admit(const GenerationRequest& request);
  void step();
  bool has_ended(int64_t slot) const;  // whether the slot has a sequence that has ended
  Generation retire(int64_t slot);     // of a sequence that has ended

 private:
  struct Sequence {
    GenerationRequest request;
    Generation result = {};
    bool ended = false;
  };
  int64_t first_free_slot() const;  // the number of slots if none is free
  // Draws a token for each of the slots; logits [slots, V].
  void draw_tokens(std::span<const int64_t> slots, std::span<const double> logits);

  Predictor predictor_;
  ArenaScope scope_;
  KeyValueCache cache_;
  std::vector<std::optional<Sequence>> sequences_;  // by slot
};

// The results of the requests, in their order, at most `batch` of them at once.
std::vector<Generation> generate(const Predictor& predictor, std::span<const GenerationRequest> requests,
                                 int64_t batch);

}  // namespace ropewalk
