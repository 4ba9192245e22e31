// A whole training step on one rank: forward, backward, AdamW; and the products inside it, by themselves.
#include "kernels/traced_kernels.h"
#include "parallel/thread_communicator.h"
#include "tests/benchmark/cases.h"
#include "tests/support/models.h"
#include "trainer/trainer.h"
#include "trainer/work.h"

namespace ropewalk::benchmark {
namespace {

// 12 layers, three sliding and one full in turn: about 120 M parameters.
Config step_config(int64_t length) {
  Config config;
  ModelConfig& model = config.model;
  model.width = 768;
  model.hidden = 2048;
  model.query_heads = 12;
  model.key_heads = 4;
  model.head_size = 64;
  model.vocabulary = 32768;
  model.logit_scale = 0.25;
  for (int layer = 0; layer < 12; ++layer)
    model.layers.push_back(layer % 4 == 3 ? full_nope() : sliding_rope(512, 50000));
  config.training.stages[0].sequence_length = length;
  config.training.steps = 1000;
  return config;
}

struct Step {
  explicit Step(int64_t length)
      : config(step_config(length)),
        world(1, std::chrono::seconds(60)),
        mesh({}, world.communicator(0)),
        inner(make_kernels(Backend::kCpu)),
        kernels(*inner, trace),
        arena(kernels),
        trainer(config, {mesh, kernels, arena}),
        batch{{random_sample(length, config.model.vocabulary, {}, 1)}} {
    trainer.initialize();
  }

  void run() {
    trace.clear();
    trace.record(true);
    trainer.step(batch, step++);
  }

  Config config;
  ThreadWorld world;
  Mesh mesh;
  Trace trace;
  std::unique_ptr<Kernels> inner;
  TracedKernels kernels;
  Arena arena;
  Trainer trainer;
  Batch batch;
  int64_t step = 0;
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
  for (const int64_t length : {512, 2048, 8192}) {
    const std::string name = fmt::format("step S={}", length);
    entries.push_back({name, "fma", [=] {
                         auto step = std::make_shared<Step>(length);
                         return Case{name, training_flops(step->config.model, step->batch), [step] { step->run(); }};
                       }});
    if (length == 8192) continue;
    const std::string products = fmt::format("products in a step S={}", length);
    entries.push_back({products, "fma", [=] {
                         auto step = std::make_shared<Step>(length);
                         step->run();
                         return Case{products, products_in(step->trace).flops, [step] { step->run(); }, nullptr,
                                     [step] { return products_in(step->trace).seconds; }};
                       }});
  }
  return entries;
}

}  // namespace ropewalk::benchmark
