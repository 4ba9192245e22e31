#include "tests/benchmark/step.h"

#include "kernels/make_kernels.h"
#include "tests/benchmark/device/operations.h"
#include "trainer/config/loss_chunk.h"
#include "trainer/model/model_flops.h"

namespace ropewalk::benchmark {

Operation make_step(const nlohmann::json& request, Kernels& kernels, BackendKind backend) {
  Config config;
  ModelConfig& model = config.model;
  model.width = request.at("width");
  model.hidden = request.at("hidden");
  model.query_heads = request.at("heads");
  model.key_heads = request.at("key_heads");
  model.head_size = request.at("head_size");
  model.vocabulary = request.at("vocabulary");
  model.logit_scale = 0.25;
  model.layers = three_to_one(request.at("layers"), request.at("window"));
  config.parallel.backend = backend;
  config.training.loss_chunk = request.value("loss_chunk", usual_loss_chunk(backend, model.vocabulary));
  config.training.stages[0].sequence_length = request.at("length");
  config.training.steps = 1'000'000;
  if (request.value("recompute", false)) config.training.recompute = TrainingConfig::Recompute::kBlockButAttention;

  const auto step = std::make_shared<Step>(config, kernels);
  step->run();
  const MemoryUse memory = step->trainer.memory();
  return {[step] { step->run(); },
          ModelFlops(model).of_batch(step->batch),
          0,
          {{"activation_bytes", memory.activations},
           {"memory_bytes", memory.total()},
           {"device_bytes", kernels.peak_device_bytes().value_or(0)}}};
}

}  // namespace ropewalk::benchmark
