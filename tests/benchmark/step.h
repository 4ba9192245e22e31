// A complete training step of one rank: forward, backward and AdamW, always over the same sequence.
#pragma once

#include "parallel/communicator/make_communicator.h"
#include "tests/support/models.h"
#include "trainer/run/estimate.h"
#include "trainer/trainer.h"

namespace ropewalk::benchmark {

// The model's layers: three with sliding-window attention, then one with full attention, repeated.
inline std::vector<LayerKind> three_to_one(int64_t layers, int64_t window) {
  std::vector<LayerKind> kinds;
  for (int64_t layer = 0; layer < layers; ++layer)
    kinds.push_back(layer % 4 == 3 ? full_nope() : sliding_rope(window, 50000));
  return kinds;
}

struct Step {
  Step(const Config& of, Kernels& kernels)
      : config(of),
        mesh({}, make_device_world(make_world(Transport::kSingle, kAlone), kernels, DeviceTransport::kStaged, kAlone)),
        arena(kernels),
        trainer(config, {mesh, kernels, arena}),
        batch{{random_sample(config.training.stages[0].sequence_length, config.model.vocabulary, {}, 1)}} {
    arena.reserve(estimate_run(config, 0).memory.arena());  // as in a run
    trainer.initialize();
  }

  void run() { trainer.step(batch, count++); }

  inline static const WorldOptions kAlone{std::chrono::minutes(1)};

  const Config config;
  Mesh mesh;
  Arena arena;
  Trainer trainer;
  const Batch batch;
  int64_t count = 0;
};

}  // namespace ropewalk::benchmark
