#include "trainer/run/mesh_search.h"

#include <algorithm>

#include "trainer/config/stages.h"

namespace ropewalk {
namespace {

MeshChoice choice_of(const Evaluation& evaluation, Purpose purpose, const DeviceModel& device, const LinkRates& links) {
  const Config& config = evaluation.config;
  MeshChoice out{.mesh = config.parallel.mesh, .needed = evaluation.needed};
  double steps = 0, work = 0;
  for (size_t i = 0; i < evaluation.stages.size(); ++i) {
    const auto weight = static_cast<double>(std::max<int64_t>(1, steps_left_in(config.training, i)));
    const StepTime time =
        model_step_time(evaluation.stages[i], config, config.training.stages[i], purpose, device, links);
    steps += weight;
    out.seconds += weight * time.seconds();
    out.tokens += weight * tokens_of(config.training.stages[i], purpose, config.parallel.mesh);
    out.exposed += weight * time.exposed();
    work += weight * time.utilization * time.seconds();
  }
  out.utilization = work / out.seconds;
  out.seconds /= steps;
  out.tokens /= steps;
  out.exposed /= steps;
  return out;
}

}  // namespace

std::vector<std::vector<std::string>> mesh_shapes(int ranks) {
  std::vector<std::vector<std::string>> out;
  for (int tensor = 1; tensor <= ranks; ++tensor) {
    if (ranks % tensor != 0) continue;
    for (int context = 1; context <= ranks / tensor; ++context) {
      if (ranks / tensor % context != 0) continue;
      out.push_back({fmt::format("parallel.data_parallel={}", ranks / tensor / context),
                     fmt::format("parallel.context_parallel={}", context),
                     fmt::format("parallel.tensor_parallel={}", tensor)});
    }
  }
  return out;
}

MeshSearch search_meshes(int ranks, const Reconfigure& reconfigure, Purpose purpose, const DeviceModel& device,
                         const LinkRates& links, const MemoryLimit& limit) {
  const std::vector<std::vector<std::string>> shapes = mesh_shapes(ranks);
  MeshSearch out;
  out.shapes = static_cast<int>(shapes.size());
  std::vector<std::optional<MeshChoice>> choices(shapes.size());
  evaluate_plans(reconfigure, shapes, purpose, [&](size_t i, const Evaluation& evaluation) {
    choices[i] = choice_of(evaluation, purpose, device, links);
  });
  for (const std::optional<MeshChoice>& choice : choices) {
    if (!choice) continue;
    ++out.allowed;
    if (const int64_t has = limit(choice->mesh); has == 0 || choice->needed <= has) {
      out.choices.push_back(*choice);
      continue;
    }
    ++out.too_large;
    if (!out.smallest || choice->needed < out.smallest->needed) out.smallest = choice;
  }
  if (!out.choices.empty()) out.smallest.reset();
  std::ranges::stable_sort(out.choices, std::ranges::greater(), &MeshChoice::tokens_per_second);
  return out;
}

}  // namespace ropewalk
