// A complete training step on one rank (forward, backward, AdamW), and the matrix products inside it alone.
#include "kernels/make_kernels.h"
#include "kernels/trace.h"
#include "tests/benchmark/cases.h"
#include "tests/benchmark/step.h"
#include "trainer/model/model_flops.h"

namespace ropewalk::benchmark {
namespace {

// About 120 M parameters.
Config step_config(BackendKind backend, int64_t length) {
  Config config;
  config.parallel.backend = backend;
  ModelConfig& model = config.model;
  model.width = 768;
  model.hidden = 2048;
  model.query_heads = 12;
  model.key_heads = 4;
  model.head_size = 64;
  model.vocabulary = 32768;
  model.logit_scale = 0.25;
  model.layers = three_to_one(12, 512);
  config.training.stages[0].sequence_length = length;
  config.training.steps = 1000;
  return config;
}

struct TracedStep {
  TracedStep(BackendKind backend, int64_t length)
      : kernels(make_kernels(backend)), step(step_config(backend, length), *kernels) {
    kernels->set_trace(&trace);
  }

  void run() {
    trace.clear();
    trace.record(true);
    step.run();
  }

  Trace trace;
  std::unique_ptr<Kernels> kernels;
  Step step;
};

struct Part {
  double flops = 0, seconds = 0;
};

Part products_in(const Trace& trace) {
  Part part;
  for (const TraceSpan& span : trace.spans())
    if (span.name.starts_with("linear_")) {
      part.flops += span.flops;
      part.seconds += span.cpu_seconds;
    }
  return part;
}

}  // namespace

std::vector<Entry> step_cases() {
  std::vector<Entry> entries;
  for (const BackendKind backend : kPrecisions)
    for (const int64_t length : {512, 2048, 8192}) {
      const std::string name = fmt::format("{}step S={}", prefix_of(backend), length);
      entries.push_back(
          {name, yardstick_of(backend), [=] {
             auto step = std::make_shared<TracedStep>(backend, length);
             return Case{name, ModelFlops(step->step.config.model).of_batch(step->step.batch), [step] { step->run(); }};
           }});
      if (length == 8192) continue;
      const std::string products = fmt::format("{}products in a step S={}", prefix_of(backend), length);
      entries.push_back({products, yardstick_of(backend), [=] {
                           auto step = std::make_shared<TracedStep>(backend, length);
                           step->run();
                           return Case{products, products_in(step->trace).flops, [step] { step->run(); }, nullptr,
                                       [step] { return products_in(step->trace).seconds; }};
                         }});
    }
  return entries;
}

}  // namespace ropewalk::benchmark
