#include "trainer/checkpoint/agreement.h"

namespace ropewalk {

std::optional<std::string> first_failure(Communicator& world, const std::function<void()>& work) {
  std::optional<std::string> mine;
  try {
    work();
  } catch (const std::exception& error) {
    mine = world.size() == 1 ? error.what() : fmt::format("rank {}: {}", world.rank(), error.what());
  }
  const int from_the_end = static_cast<int>(maximum_of(world, mine ? world.size() - world.rank() : 0));
  if (from_the_end == 0) return std::nullopt;
  return broadcast_text(world, mine.value_or(""), world.size() - from_the_end);
}

void all_or_none(Communicator& world, const std::function<void()>& work) {
  if (const std::optional<std::string> failure = first_failure(world, work)) throw CheckpointError(*failure);
}

}  // namespace ropewalk
