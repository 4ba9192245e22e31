#include "trainer/finite_check.h"

namespace ropewalk {
namespace {

// "the gradient of NAME, element i", or empty when all is finite here.
std::string first_bad_tensor(const ParameterValues& weights, const ParameterValues& gradients, Kernels& kernels) {
  const ParameterTable& table = weights.table();
  const int count = static_cast<int>(table.all().size());
  for (int index = 0; index < count; ++index)
    if (const auto at = kernels.first_not_finite(weights[index]))
      return fmt::format("the weight {}, element {} of its part here", table[index].name, *at);
  for (int index = count; index-- > 0;)  // the backward's order: the first one hit is nearest to the cause
    if (const auto at = kernels.first_not_finite(gradients[index]))
      return fmt::format("the gradient of {}, element {} of its part here", table[index].name, *at);
  return {};
}

}  // namespace

void throw_not_finite(int64_t step, double loss, double gradient_norm, const ParameterValues& weights,
                      const ParameterValues& gradients, Rank rank) {
  Communicator& world = rank.mesh.world();
  const std::string here = first_bad_tensor(weights, gradients, rank.kernels);
  const int candidate = here.empty() ? 0 : world.size() - world.rank();
  const int lowest = static_cast<int>(maximum_of(world, candidate));
  std::string where = "no single rank's tensor (the sum over ranks overflowed)";
  if (lowest > 0) {
    const int culprit = world.size() - lowest;
    std::vector<uint8_t> text(here.begin(), here.end());
    broadcast_bytes(world, text, culprit);
    where = fmt::format("rank {}: {}", culprit, std::string(text.begin(), text.end()));
  }
  throw NumericalError(fmt::format(
      "step {}: the loss is {} and the gradient norm is {}; first not finite on {}. The weights are those before the step. "
      "Resume from an earlier checkpoint with a lower training.learning_rate, or look at the data of this step",
      step, loss, gradient_norm, where));
}

}  // namespace ropewalk
