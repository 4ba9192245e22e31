#include "parallel/thread_communicator.h"
#include "tests/benchmark/device/operations.h"
#include "tests/support/models.h"
#include "trainer/trainer.h"
#include "trainer/work.h"

namespace ropewalk::benchmark {
namespace {

struct Step {
  Step(const Config& step_config, Kernels& device, int64_t length)
      : config(step_config),
        world(1, std::chrono::seconds(60)),
        mesh({}, world.communicator(0)),
        kernels(device),
        arena(kernels),
        trainer(config, {mesh, kernels, arena}),
        batch{{random_sample(length, config.model.vocabulary, {}, 1)}} {
    trainer.initialize();
  }

  Config config;
  ThreadWorld world;
  Mesh mesh;
  Kernels& kernels;
  Arena arena;
  Trainer trainer;
  Batch batch;
  int64_t step = 0;
};

}  // namespace

// Forward, backward and AdamW over one sequence; three sliding layers and a full one in turn.
Operation make_step(const nlohmann::json& request, Kernels& kernels, Backend backend) {
  Config config;
  ModelConfig& model = config.model;
  model.width = request.at("width");
  model.hidden = request.at("hidden");
  model.query_heads = request.at("heads");
  model.key_heads = request.at("key_heads");
  model.head_size = request.at("head_size");
  model.vocabulary = request.at("vocabulary");
  model.logit_scale = 0.25;
  for (int64_t layer = 0; layer < request.at("layers"); ++layer)
    model.layers.push_back(layer % 4 == 3 ? full_nope() : sliding_rope(request.at("window"), 50000));
  config.parallel.backend = backend;
  config.training.stages[0].sequence_length = request.at("length");
  config.training.steps = 1'000'000;
  if (request.value("recompute", false)) config.training.recompute = TrainingConfig::Recompute::kBlockButAttention;

  const auto step = std::make_shared<Step>(config, kernels, request.at("length").get<int64_t>());
  step->trainer.step(step->batch, step->step++);
  const MemoryUse memory = step->trainer.memory();
  return {[step] { step->trainer.step(step->batch, step->step++); },
          training_flops(model, step->batch),
          0,
          {{"activation_bytes", memory.activations},
           {"memory_bytes", memory.total()},
           {"device_bytes", kernels.peak_device_bytes().value_or(0)}}};
}

}  // namespace ropewalk::benchmark
