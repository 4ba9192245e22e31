// The reference model for tests: a second implementation from the formulas only, as simple as possible. It uses one
// rank, fp64, full S x S score matrices, an explicit mask, and derivatives from a tape (tape.h). It is slow on purpose.
// It shares only the types of configurations and samples with the program.
#pragma once

#include <complex>
#include <map>
#include <string>
#include <vector>

#include "trainer/config/config.h"
#include "trainer/data/batch.h"

namespace ropewalk {

// Unsharded tensors by their Hugging Face names, row-major.
template <typename T>
using NaiveTensors = std::map<std::string, std::vector<T>>;
using NaiveWeights = NaiveTensors<double>;

// The shape {rows, columns} of every weight of a model, by name; a vector has one row.
std::map<std::string, std::pair<int64_t, int64_t>> naive_shapes(const ModelConfig& model);

struct NaiveResult {
  double loss = 0;  // mean cross-entropy over the targets that are not -1, in nats
  NaiveWeights gradients;
};
NaiveResult naive_gradients(const ModelConfig& model, const NaiveWeights& weights, const std::vector<Sample>& samples);

// The loss alone; T may be complex, for complex-step derivatives.
template <typename T>
T naive_loss(const ModelConfig& model, const NaiveTensors<T>& weights, const std::vector<Sample>& samples);

// AdamW (Loshchilov & Hutter, arXiv 1711.05101, algorithm 2) after clipping the gradient to a global norm of clip_norm
// (0: no clipping). The weights of norms do not decay.
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
