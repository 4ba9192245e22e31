// A Trainer on one thread rank of a mesh, with the reference backend in fp64, for tests.
#pragma once

#include <memory>

#include "kernels/arena.h"
#include "kernels/make_kernels.h"
#include "parallel/mesh.h"
#include "tests/support/ranks.h"
#include "trainer/trainer.h"

namespace ropewalk {

// A configuration of `model` on `mesh` for sequences of `length` tokens.
Config test_config(const ModelConfig& model, const MeshShape& mesh, int64_t length, int64_t batch);

// What a rank owns; made inside run_ranks.
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
