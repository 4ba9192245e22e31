#include "tests/equivalence/mesh_run.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/bfloat16.h"
#include "kernels/make_kernels.h"
#include "tests/support/ranks.h"
#include "trainer/config/stages.h"
#include "trainer/model/initial_weights.h"
#include "trainer/model/replica.h"
#include "trainer/optimizer.h"

namespace ropewalk {
namespace {

// The elements of a tensor on the host.
std::vector<double> values_of(const Tensor& x, Kernels& kernels) {
  const auto count = static_cast<size_t>(x.elements());
  if (x.dtype() == DType::kF64) {
    std::vector<double> values(count);
    kernels.download(x, values.data());
    return values;
  }
  if (x.dtype() == DType::kBF16) {
    std::vector<BFloat16> narrow(count);
    kernels.download(x, narrow.data());
    std::vector<double> values(count);
    std::ranges::transform(narrow, values.begin(), [](BFloat16 value) { return static_cast<float>(value); });
    return values;
  }
  CHECK(x.dtype() == DType::kF32, "state of {}", name_of(x.dtype()));
  std::vector<float> values(count);
  kernels.download(x, values.data());
  return {values.begin(), values.end()};
}

void set_values(const Tensor& x, const std::vector<double>& values, Kernels& kernels) {
  if (x.dtype() == DType::kF64) return kernels.upload(values.data(), x);
  CHECK(x.dtype() == DType::kF32, "state of {}", name_of(x.dtype()));
  const std::vector<float> rounded(values.begin(), values.end());
  kernels.upload(rounded.data(), x);
  kernels.synchronize();
}

// Calls visit(index in the whole tensor, index in the box) for each element of the box.
template <typename Visit>
void for_each_element(const Shape& shape, const Box& box, Visit visit) {
  const int64_t columns = shape[shape.rank() - 1];
  for (int64_t row = box.row_begin; row < box.row_end; ++row) {
    for (int64_t column = box.column_begin; column < box.column_end; ++column) {
      const int64_t inside = (row - box.row_begin) * box.columns() + (column - box.column_begin);
      visit(static_cast<size_t>(row * columns + column), static_cast<size_t>(inside));
    }
  }
}

}  // namespace

std::vector<MeshShape> meshes_up_to(int ranks) {
  std::vector<MeshShape> meshes;
  for (int size = 1; size <= ranks; ++size) {
    for (int data = 1; data <= size; ++data) {
      for (int context = 1; data * context <= size; ++context) {
        if (size % (data * context) == 0) meshes.push_back({data, context, size / (data * context)});
      }
    }
  }
  return meshes;
}

std::string text_of(const MeshShape& mesh) {
  return fmt::format("dp{}_cp{}_tp{}", mesh.data_parallel, mesh.context_parallel, mesh.tensor_parallel);
}

Batch RankRun::share_of(const std::vector<Sample>& samples) const {
  const Partition shares = Partition::even(static_cast<int64_t>(samples.size()), mesh.shape().data_parallel);
  const auto begin = samples.begin() + shares.begin(mesh.data_rank());
  return {{begin, begin + shares.size(mesh.data_rank())}};
}

void on_mesh(const Config& config, const std::function<void(RankRun&)>& body, const Faults& faults) {
  run_ranks(config.parallel.mesh.size(), [&](const std::shared_ptr<Communicator>& world) {
    const auto seen = faults.in_world ? faults.in_world(world) : world;
    RankOnThread on_thread(
        config, faults.on_device ? faults.on_device(seen) : RankDevice{make_kernels(config.parallel.backend), seen});
    std::unique_ptr<Kernels> faulty;
    if (faults.in_backend) {
      std::unique_ptr<Backend> backend = faults.in_backend(on_thread.kernels().backend(), on_thread.mesh());
      if (backend) faulty = std::make_unique<Kernels>(std::move(backend));
    }
    const Rank rank = on_thread.rank();
    Kernels& kernels = faulty ? *faulty : rank.kernels;
    Trainer trainer(config, Rank{rank.mesh, kernels, rank.arena});
    trainer.initialize();
    RankRun run{config, trainer, rank.mesh, kernels};
    body(run);
  });
}

void Gathering::add(const std::vector<StateTensor>& tensors, Kernels& kernels) {
  for (const StateTensor& tensor : tensors) {
    std::vector<double> values = values_of(tensor.data, kernels);
    const std::lock_guard lock(mutex_);
    pieces_.push_back({tensor.name, tensor.shape, tensor.box, tensor.saved_here, std::move(values)});
  }
}

NaiveWeights Gathering::whole() const {
  NaiveWeights whole;
  std::map<std::string, std::vector<bool>> filled;
  for (const Piece& piece : pieces_) {
    std::vector<double>& values = whole[piece.name];
    std::vector<bool>& seen = filled[piece.name];
    values.resize(static_cast<size_t>(piece.shape.elements()));
    seen.resize(values.size());
    if (!piece.saved_here) continue;
    for_each_element(piece.shape, piece.box, [&](size_t to, size_t from) {
      CHECK(!seen[to], "{}[{}] is saved twice", piece.name, to);
      seen[to] = true;
      values[to] = piece.values[from];
    });
  }
  for (const auto& [name, seen] : filled) {
    const auto missing = std::find(seen.begin(), seen.end(), false) - seen.begin();
    CHECK(missing == static_cast<int64_t>(seen.size()), "{}[{}] is saved by no rank", name, missing);
  }
  for (const Piece& piece : pieces_) {
    for_each_element(piece.shape, piece.box, [&](size_t to, size_t from) {
      const double other = whole.at(piece.name)[to];
      if (std::memcmp(&piece.values[from], &other, sizeof other) == 0) return;
      throw Disagreement(
          fmt::format("{}[{}] is {} on one rank and {} on another", piece.name, to, piece.values[from], other));
    });
  }
  return whole;
}

void set_state(const RankRun& run, const NaiveWeights& whole) {
  for (const StateTensor& tensor : run.trainer.state()) {
    const auto found = whole.find(tensor.name);
    if (found == whole.end()) continue;
    CHECK(static_cast<int64_t>(found->second.size()) == tensor.shape.elements(), "{} has {} elements, not {}",
          tensor.name, tensor.shape.elements(), found->second.size());
    std::vector<double> values(static_cast<size_t>(tensor.data.elements()));
    for_each_element(tensor.shape, tensor.box, [&](size_t from, size_t to) { values[to] = found->second[from]; });
    set_values(tensor.data, values, run.kernels);
  }
  run.trainer.state_loaded();
}

LossAndGradients gradients_on_mesh(const Config& config, const NaiveWeights& weights,
                                   const std::vector<Sample>& samples, const Faults& faults) {
  Gathering gathering;
  std::vector<double> losses(static_cast<size_t>(config.parallel.mesh.size()));
  on_mesh(
      config,
      [&](RankRun& run) {
        set_state(run, weights);
        losses[static_cast<size_t>(run.mesh.world().rank())] =
            run.trainer.compute_gradients(run.share_of(samples)).value();
        gathering.add(run.trainer.gradients(), run.kernels);
      },
      faults);
  for (double loss : losses) {
    if (loss != losses[0])
      throw Disagreement(fmt::format("the loss is {} on one rank and {} on another", loss, losses[0]));
  }
  return {losses[0], gathering.whole()};
}

Steps run_steps(const RankRun& run, const SamplesOfStep& samples, int64_t first, int64_t last) {
  Steps steps;
  for (int64_t step = first; step < last; ++step) {
    run.trainer.begin_stage(run.config.training.stages[stage_at(run.config.training, step)]);
    const StepResult result = run.trainer.step(run.share_of(samples(step)), step);
    steps.losses.push_back(result.loss.value());
    steps.gradient_norms.push_back(result.gradient_norm);
    steps.rates.push_back(result.learning_rate);
  }
  return steps;
}

Steps steps_on_mesh(const Config& config, const NaiveWeights& state, const SamplesOfStep& samples, int64_t first,
                    int64_t last, const Faults& faults) {
  Gathering gathering;
  std::vector<Steps> by_rank(static_cast<size_t>(config.parallel.mesh.size()));
  on_mesh(
      config,
      [&](RankRun& run) {
        if (!state.empty()) set_state(run, state);
        by_rank[static_cast<size_t>(run.mesh.world().rank())] = run_steps(run, samples, first, last);
        gathering.add(run.trainer.state(), run.kernels);
      },
      faults);
  for (const Steps& steps : by_rank) {
    if (!(steps == by_rank[0])) throw Disagreement("ranks disagree on the losses or norms of their steps");
  }
  Steps steps = by_rank[0];
  steps.state = gathering.whole();
  return steps;
}

UpdatedWeights weights_after(int updates, const Config& config, const Faults& faults) {
  Gathering weights, masters;
  run_ranks(config.parallel.mesh.size(), [&](const std::shared_ptr<Communicator>& world) {
    RankOnThread on_thread(
        config, faults.on_device ? faults.on_device(world) : RankDevice{make_kernels(config.parallel.backend), world});
    const Rank rank = on_thread.rank();
    const ModelReplica replica(config, rank);
    const ParameterValues gradients(replica.table, accumulator_of(rank.kernels.dtype()), rank.kernels);
    ShardedOptimizer optimizer(replica.weights, gradients, config.training, rank);
    optimizer.zero_moments();
    draw_initial_weights(optimizer.master_weights(), replica.table, config.model, config.training.seed, rank.kernels);
    optimizer.start_gather();
    rank.kernels.fill(gradients.flat(), 0.5);
    for (int step = 1; step <= updates; ++step) optimizer.update(config.training.learning_rate, step, 1.0);
    optimizer.finish_gather();
    masters.add(optimizer.master_weights(), rank.kernels);
    weights.add(replica.state(), rank.kernels);
  });
  return {weights.whole(), masters.whole()};
}

Difference difference(const NaiveWeights& actual, const NaiveWeights& expected) {
  Difference worst;
  const auto update = [&](double relative, const std::string& where) {
    if (!(relative <= worst.relative)) worst = {std::isnan(relative) ? INFINITY : relative, where};
  };
  for (const auto& [name, values] : actual) {
    if (!expected.contains(name)) update(INFINITY, name + " (too much)");
  }
  for (const auto& [name, values] : expected) {
    const auto found = actual.find(name);
    if (found == actual.end() || found->second.size() != values.size()) {
      update(INFINITY, name + " (missing)");
      continue;
    }
    double largest = 0;
    for (double value : values) largest = std::max(largest, std::abs(value));
    for (size_t i = 0; i < values.size(); ++i) {
      const double error = std::abs(found->second[i] - values[i]);
      if (error != 0)
        update(error / largest, fmt::format("{}[{}]: {} instead of {}", name, i, found->second[i], values[i]));
    }
  }
  return worst;
}

}  // namespace ropewalk
