// For tests of a Trainer: a configuration with the reference backend in fp64, and ranks as threads.
#pragma once

#include <memory>

#include "kernels/arena.h"
#include "kernels/make_kernels.h"
#include "parallel/mesh.h"
#include "tests/support/ranks.h"
#include "trainer/trainer.h"

namespace ropewalk {

// A configuration of `model` on `mesh`, with `batch` sequences of `length` tokens per step.
Config test_config(const ModelConfig& model, const MeshShape& mesh, int64_t length, int64_t batch);

// The objects that a rank owns; construct it inside run_ranks.
class RankOnThread {
 public:
  RankOnThread(const Config& config, RankDevice device);
  RankOnThread(const Config& config, std::shared_ptr<Communicator> world)
      : RankOnThread(config, RankDevice{make_kernels(config.parallel.backend), std::move(world)}) {}
  Rank rank() { return {mesh_, *kernels_, arena_}; }
  Mesh& mesh() { return mesh_; }
  Kernels& kernels() { return *kernels_; }

 private:
  std::unique_ptr<Kernels> kernels_;
  Mesh mesh_;
  Arena arena_;
};

}  // namespace ropewalk
