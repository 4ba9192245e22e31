// The judge: the model written a second time, from its formulas only, as plainly as possible. One rank, fp64, whole S x
// S score matrices, an explicit mask, derivatives by a tape (tape.h). Slow on purpose, and sharing no code with the
// program.
#pragma once

#include <complex>
#include <map>
#include <string>
#include <vector>

#include "trainer/config/config.h"
#include "trainer/data/batch.h"

namespace ropewalk {

// Whole tensors by their Hugging Face names, row-major.
template <typename T>
using NaiveTensors = std::map<std::string, std::vector<T>>;
using NaiveWeights = NaiveTensors<double>;

// Names of all weights of a model, with their extents: {rows, columns}, a vector having one row.
std::map<std::string, std::pair<int64_t, int64_t>> naive_shapes(const ModelConfig& model);

struct NaiveResult {
  double loss = 0;  // mean cross-entropy over the targets that are not -1, in nats
  NaiveWeights gradients;
};
NaiveResult naive_gradients(const ModelConfig& model, const NaiveWeights& weights, const std::vector<Sample>& samples);

// The loss alone, also of complex weights (for complex-step derivatives).
template <typename T>
T naive_loss(const ModelConfig& model, const NaiveTensors<T>& weights, const std::vector<Sample>& samples);

// AdamW (Loshchilov & Hutter, arXiv 1711.05101, algorithm 2) after clipping the gradient to a global norm of clip_norm
// (0: no clipping). Norms do not decay.
class NaiveAdamW {
 public:
  explicit NaiveAdamW(const TrainingConfig& training) : training_(training) {}
  double update(NaiveWeights& weights, const NaiveWeights& gradients, double rate);  // returns the norm before clipping

 private:
  TrainingConfig training_;
  int64_t steps_ = 0;
  NaiveWeights m_, v_;
};

}  // namespace ropewalk
