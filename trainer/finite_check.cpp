#include "trainer/finite_check.h"

#include "parallel/communicator/communicator.h"

namespace ropewalk {
namespace {

constexpr const char* kRemedy =
    "Go back to a checkpoint of an earlier step (train --resume-from STEP) with a lower training.learning_rate, or "
    "look at the data of the last steps";

// "the weight NAME, element i of its part here", or empty if all weights of this rank are finite.
std::string first_bad_weight(const ParameterValues& weights, Kernels& kernels) {
  const ParameterTable& table = weights.table();
  for (int index = 0; index < static_cast<int>(table.all().size()); ++index)
    if (const auto at = kernels.first_not_finite(weights[index]))
      return fmt::format("the weight {}, element {} of its part here", table[index].name, *at);
  return {};
}

// Likewise for gradients, in the order of the backward: the first one found is nearest to the cause.
std::string first_bad_gradient(const ParameterValues& gradients, Kernels& kernels) {
  const ParameterTable& table = gradients.table();
  for (int index = static_cast<int>(table.all().size()); index-- > 0;)
    if (const auto at = kernels.first_not_finite(gradients[index]))
      return fmt::format("the gradient of {}, element {} of its part here", table[index].name, *at);
  return {};
}

// "rank R: " and the finding of the lowest rank that found something; empty if none did. Collective.
std::string lowest_finding(const std::string& here, Communicator& world) {
  const auto first = first_text(world, here.empty() ? std::nullopt : std::optional(here));
  return first ? fmt::format("rank {}: {}", first->rank, first->text) : "";
}

}  // namespace

std::string first_weight_not_finite(const ParameterValues& weights, Rank rank) {
  return lowest_finding(first_bad_weight(weights, rank.kernels), rank.mesh.world());
}

void check_weights_finite(int64_t steps, const ParameterValues& weights, Rank rank) {
  const std::string where = first_weight_not_finite(weights, rank);
  if (where.empty()) return;
  throw NumericalError(fmt::format("after step {} a weight is not finite: {}. {}", steps, where, kRemedy));
}

void throw_not_finite(int64_t step, std::optional<double> loss, double gradient_norm, const ParameterValues& weights,
                      const ParameterValues& gradients, Rank rank) {
  std::string where = first_weight_not_finite(weights, rank);  // a cause before its effects
  if (where.empty()) where = lowest_finding(first_bad_gradient(gradients, rank.kernels), rank.mesh.world());
  if (where.empty()) where = "no single rank's tensor (the sum over ranks overflowed)";
  throw NumericalError(fmt::format(
      "step {}: {} and the gradient norm is {}; first not finite on {}. The weights are those before the "
      "step. {}",
      step, loss ? fmt::format("the loss is {}", *loss) : "it has no targets", gradient_norm, where, kRemedy));
}

}  // namespace ropewalk
