// Runs whole models on a mesh of ranks as threads, assembles the tensors that the ranks hold, and defines the
// comparison that all tests here use.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/naive_model.h"
#include "tests/support/training.h"
#include "trainer/trainer.h"

namespace ropewalk {

// All mesh shapes of at most `ranks` ranks.
std::vector<MeshShape> meshes_up_to(int ranks);
std::string text_of(const MeshShape& mesh);                                               // "dp2_cp2_tp1"
inline void PrintTo(const MeshShape& mesh, std::ostream* out) { *out << text_of(mesh); }  // for GoogleTest

// Changes to a run: faults between a rank and its world or its backend, and a device other than the configuration's.
struct Faults {
  std::function<std::shared_ptr<Communicator>(std::shared_ptr<Communicator>)> in_world;
  std::function<std::unique_ptr<Backend>(Backend&, const Mesh&)> in_backend;
  std::function<RankDevice(std::shared_ptr<Communicator> host)> on_device;
};

struct RankRun {
  const Config& config;
  Trainer& trainer;
  Mesh& mesh;
  Kernels& kernels;
  // This data rank's part of a step's samples.
  Batch share_of(const std::vector<Sample>& samples) const;
};
// Calls body on every rank of the configuration's mesh, each with a new trainer.
void on_mesh(const Config& config, const std::function<void(RankRun&)>& body, const Faults& faults = {});

// Ranks that must hold the same data do not: copies of weights have diverged.
struct Disagreement : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Assembles whole tensors from the boxes of all ranks.
class Gathering {
 public:
  void add(const std::vector<StateTensor>& tensors, Kernels& kernels);  // called by each rank, in any order
  // Throws unless the boxes that a checkpoint would save (StateTensor::saved_here) cover every element exactly once.
  // Throws Disagreement if two ranks hold different bits where their boxes overlap.
  NaiveWeights whole() const;

 private:
  struct Piece {
    std::string name;
    Shape shape;
    Box box;
    bool saved_here;
    std::vector<double> values;
  };
  std::mutex mutex_;
  std::vector<Piece> pieces_;
};

// Overwrites this rank's boxes of the tensors in `whole`, and calls Trainer::state_loaded(). Collective.
void set_state(const RankRun& run, const NaiveWeights& whole);

// Loss and gradients of one step's samples, with given weights.
struct LossAndGradients {
  double loss = 0;
  NaiveWeights gradients;
};
LossAndGradients gradients_on_mesh(const Config& config, const NaiveWeights& weights,
                                   const std::vector<Sample>& samples, const Faults& faults = {});

// The results of some optimizer steps.
struct Steps {
  std::vector<double> losses, gradient_norms, rates;
  NaiveWeights state;  // afterwards: master weights and moments
  bool operator==(const Steps&) const = default;
};
using SamplesOfStep = std::function<std::vector<Sample>(int64_t step)>;
// Runs the optimizer steps [first, last) from `state`; if `state` is empty, from the trainer's own initial weights.
Steps steps_on_mesh(const Config& config, const NaiveWeights& state, const SamplesOfStep& samples, int64_t first,
                    int64_t last, const Faults& faults = {});
// For use inside on_mesh: runs the steps [first, last) on the rank's trainer, and before each step calls begin_stage()
// with the step's stage. Every rank calls it. Returns losses, norms and rates, the same on all ranks; `state` stays
// empty.
Steps run_steps(const RankRun& run, const SamplesOfStep& samples, int64_t first, int64_t last);

// The weights with which the ranks compute, and their master weights, after `updates` optimizer updates of the initial
// weights by gradients that are 0.5 everywhere.
struct UpdatedWeights {
  NaiveWeights weights, masters;
};
UpdatedWeights weights_after(int updates, const Config& config, const Faults& faults = {});

// The largest |actual - expected| of any tensor, relative to the tensor's largest |expected|, and its place. Infinite
// if a tensor is missing or not expected, or a number is not finite.
struct Difference {
  double relative = 0;
  std::string where;
};
Difference difference(const NaiveWeights& actual, const NaiveWeights& expected);

// For one forward and backward in fp64. They are a chain of about 24 operations. Each operation sums at most about 400
// terms, in an order that depends on the mesh. So the error is less than 24 * 400 * 2^-53 ~ 1e-12. (Any mistake of
// logic changes results by more than 1e-6.)
constexpr double kTolerance = 1e-12;

// For several optimizer steps. AdamW divides by |g| + epsilon: an error d in a gradient that is nearly zero moves its
// weight by rate * d / epsilon. With d = 1e-13 (kTolerance for gradients of 0.1), rate 0.02 and epsilon 1e-3, as in the
// tests, that is 2e-12 per step, for weights of about 1. In later steps the curvature of the loss, of order 10,
// amplifies it.
constexpr double kStepsTolerance = 1e-10;

}  // namespace ropewalk
