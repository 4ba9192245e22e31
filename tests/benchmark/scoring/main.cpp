// Compares scoring with the forward half of a training step on the same tokens, on one thread: CPU-seconds of runs that
// alternate, and the median of their ratios. Every position is scored, because every position of a training sequence
// has a target. The goal is a ratio of at most 1.1.
//
//     ninja -C build/release ropewalk_scoring_benchmark && build/release/tests/benchmark/ropewalk_scoring_benchmark
#include <algorithm>
#include <cstdio>

#include "kernels/clock.h"
#include "tests/benchmark/measure.h"
#include "tests/benchmark/step.h"
#include "trainer/data/slice.h"
#include "trainer/evaluation/scoring.h"
#include "trainer/model/initial_weights.h"

namespace ropewalk::benchmark {
namespace {

constexpr int64_t kLength = 2048;
constexpr int kPairs = 9;

// The layers of configs/rnope_swa.textproto, and more of them, with a larger vocabulary.
Config scoring_config() {
  Config config;
  ModelConfig& model = config.model;
  model.width = 256;
  model.hidden = 704;
  model.query_heads = 4;
  model.key_heads = 2;
  model.head_size = 64;
  model.vocabulary = 8192;
  model.layers = three_to_one(12, 128);
  config.training.stages[0].sequence_length = kLength;
  return config;
}

// One rank with the weights, and gradients for the loss head of a training step.
struct Bench {
  Bench()
      : config(scoring_config()),
        kernels(make_kernels(BackendKind::kCpu)),
        mesh({}, make_world(Transport::kSingle, Step::kAlone)),
        arena(*kernels),
        replica(config, {mesh, *kernels, arena}),
        gradients(replica.table, DType::kF32, *kernels) {
    draw_initial_weights(replica.state(), replica.table, config.model, 1, *kernels);
    kernels->set_trace(&trace);
  }

  // CPU-seconds of a training step's forward on a sequence, without what its loss head computes for the backward.
  double forward(const Sample& sample) {
    trace.clear();
    trace.record(true);
    const double began = thread_cpu_seconds();
    {
      ArenaScope scope(arena);
      const SequenceLayout layout(sample.length(), 1);
      const Sequences sequences = slice({&sample, 1}, layout, 0, *kernels, arena);
      Activations saved;
      const Tensor x = replica.model.forward(replica.weights, sequences, saved, nullptr);
      kernels->sum(replica.model.head().forward(replica.weights, sequences, x, 1, saved.loss, gradients, Write::kSet));
    }
    double seconds = thread_cpu_seconds() - began;
    trace.record(false);
    for (const TraceSpan& span : trace.spans())
      if (span.name.find("backward") != std::string::npos) seconds -= span.cpu_seconds;
    return seconds;
  }

  double scoring(const std::vector<ScoringRequest>& requests) {
    const double began = thread_cpu_seconds();
    const auto answers = score(Predictor(replica), mesh, requests, {.batch_tokens = kLength});
    CHECK(answers->size() == requests.size(), "{} answers", answers->size());
    return thread_cpu_seconds() - began;
  }

  Config config;
  std::unique_ptr<Kernels> kernels;
  Mesh mesh;
  Arena arena;
  ModelReplica replica;
  ParameterValues gradients;
  Trace trace;
};

// The sequence cut into documents of `length` tokens; and the same as requests, which score every position.
Sample documents_of(int64_t length) {
  std::vector<int64_t> begins;
  for (int64_t begin = length; begin < kLength; begin += length) begins.push_back(begin);
  return random_sample(kLength, 8192, begins, 1);
}

std::vector<ScoringRequest> requests_of(const Sample& sample, int64_t length) {
  std::vector<ScoringRequest> requests;
  for (int64_t begin = 0; begin < kLength; begin += length) {
    const auto first = sample.tokens.begin() + begin;
    ScoringRequest request{.line = begin, .tokens = {first, first + length}, .targets = length};
    request.tokens.push_back(7);  // a target; training has none at the end of a document
    requests.push_back(request);
  }
  return requests;
}

void run() {
  Bench bench;
  for (const int64_t length : {kLength, kLength / 16}) {
    const Sample sample = documents_of(length);
    const std::vector<ScoringRequest> requests = requests_of(sample, length);
    std::vector<double> ratios, forwards;
    for (int pair = -1; pair < kPairs; ++pair) {  // the first warms up
      const double before = bench.forward(sample), scored = bench.scoring(requests), after = bench.forward(sample);
      if (pair < 0) continue;
      ratios.push_back(2 * scored / (before + after));
      forwards.push_back(before);
    }
    std::sort(ratios.begin(), ratios.end());
    std::printf(
        "%2zu requests of %4ld tokens: %.3f of the forward half (%.3f to %.3f in %d runs), which takes %.0f tokens/s\n",
        requests.size(), static_cast<long>(length), median(ratios), ratios.front(), ratios.back(), kPairs,
        static_cast<double>(kLength) / median(forwards));
  }
}

}  // namespace
}  // namespace ropewalk::benchmark

int main() {
  ropewalk::benchmark::run();
  return 0;
}
