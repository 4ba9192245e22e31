#include <algorithm>

#include "launch/plan_report.h"
#include "launch/search_report.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

constexpr size_t kShown = 5;

std::string option_of(const MeshShape& mesh) {
  return fmt::format("--mesh dp={},cp={},tp={}", mesh.data_parallel, mesh.context_parallel, mesh.tensor_parallel);
}

std::string none_fits(const MeshSearch& search) {
  const MeshChoice& smallest = *search.smallest;
  return fmt::format(
      "\nNone fits. {} needs least, {} per rank; `ropewalk plan` with {} shows which settings reduce memory.\n",
      mesh_text(smallest.mesh), bytes_text(static_cast<double>(smallest.needed)), option_of(smallest.mesh));
}

}  // namespace

std::string search_text(const SearchReport& report) {
  const auto& [search, purpose, ranks, machine] = report;
  std::string out = fmt::format("{} can form {}; the configuration allows {}", counted(ranks, "rank"),
                                counted(search.shapes, "mesh", "meshes"), search.allowed);
  const MeshShape any = {.data_parallel = ranks};  // all have as many ranks
  if (const int64_t has = machine.memory_of_rank(any); has > 0)
    out += fmt::format(", of which {} {} more than {} per rank ({})", search.too_large,
                       search.too_large == 1 ? "needs" : "need", bytes_text(static_cast<double>(has)),
                       machine.memory_source_of(any));
  out += "\n";
  if (search.choices.empty()) return search.smallest ? out + none_fits(search) : out;
  out += fmt::format("\n  {:<34}{:>12}{:>10}{:>8}{:>12}{:>16}\n", "fastest meshes, by the model", "tokens/s",
                     purpose == Purpose::kTraining ? "step" : "pass", "MFU", "memory", "exposed");
  for (size_t i = 0; i < std::min(kShown, search.choices.size()); ++i) {
    const MeshChoice& choice = search.choices[i];
    out += fmt::format(
        "  {:<34}{:>12}{:>10}{:>8.3f}{:>12}{:>16}\n", option_of(choice.mesh), count_text(choice.tokens_per_second()),
        seconds_text(choice.seconds), choice.utilization, bytes_text(static_cast<double>(choice.needed)),
        fmt::format("{} {:>3.0f} %", seconds_text(choice.exposed), 100 * choice.exposed / choice.seconds));
  }
  return out + model_note(machine, any);
}

}  // namespace ropewalk
