// Whole models on a mesh of ranks as threads: running them, putting together what their ranks hold, and THE COMPARISON
// by which all tests here judge.
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

// What is not as usual: errors put in on purpose between a rank and its world or its device, and a device that the
// configuration does not name.
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
  // This data rank's share of a step's samples.
  Batch share_of(const std::vector<Sample>& samples) const;
};
// Calls body on every rank of the configuration's mesh with a new trainer.
void on_mesh(const Config& config, const std::function<void(RankRun&)>& body, const Faults& faults = {});

// Ranks that should hold the same do not: what keeps copies of weights together is broken.
struct Disagreement : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Whole tensors, put together from the boxes of all ranks.
class Gathering {
 public:
  void add(const std::vector<StateTensor>& tensors, Kernels& kernels);  // by each rank, in any order
  // Throws unless the saved boxes cover every element exactly once, and Disagreement unless boxes that two ranks hold
  // are the same bits.
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

// Overwrites this rank's boxes of the named tensors, and brings the trainer up to date. Collective.
void set_state(const RankRun& run, const NaiveWeights& whole);

// Loss and gradients of one step's samples from given weights.
struct LossAndGradients {
  double loss = 0;
  NaiveWeights gradients;
};
LossAndGradients gradients_on_mesh(const Config& config, const NaiveWeights& weights,
                                   const std::vector<Sample>& samples, const Faults& faults = {});

// Optimizer steps [first, last) from a whole state; an empty one: from the trainer's own initial weights.
struct Steps {
  std::vector<double> losses, gradient_norms, rates;
  NaiveWeights state;  // afterwards: master weights and moments
  bool operator==(const Steps&) const = default;
};
using SamplesOfStep = std::function<std::vector<Sample>(int64_t step)>;
Steps steps_on_mesh(const Config& config, const NaiveWeights& state, const SamplesOfStep& samples, int64_t first,
                    int64_t last, const Faults& faults = {});
// The same within on_mesh, each step in its stage: by every rank, which all get the same results but the state.
Steps run_steps(const RankRun& run, const SamplesOfStep& samples, int64_t first, int64_t last);

// The weights that the ranks compute with, and their master weights, after so many updates of the initial ones by
// gradients that are 0.5 everywhere.
struct UpdatedWeights {
  NaiveWeights weights, masters;
};
UpdatedWeights weights_after(int updates, const Config& config, const Faults& faults = {});

// The largest |actual - expected| of any tensor, relative to the tensor's largest |expected|, and where that is.
// Infinite where a tensor is missing or too much, or a number is not finite.
struct Difference {
  double relative = 0;
  std::string where;
};
Difference difference(const NaiveWeights& actual, const NaiveWeights& expected);

// One pass in fp64, forward and backward: two dozen stages of sums of at most some hundred terms in another order err
// by less than 1e4 * 2^-53 ~ 1e-12. (The design asks for 1e-10; any mistake of logic is larger than 1e-6.)
constexpr double kTolerance = 1e-12;

// Several optimizer steps. AdamW divides by |g| + epsilon: an error d in a gradient that is nearly zero moves its
// weight by rate * d / epsilon. With d = 1e-13 (kTolerance of gradients of 0.1), and rate 0.02 and epsilon 1e-3 in the
// tests, that is 2e-12 a step, against weights of about 1; the loss's curvature, of order 10, amplifies it in the steps
// that follow.
constexpr double kStepsTolerance = 1e-10;

}  // namespace ropewalk
