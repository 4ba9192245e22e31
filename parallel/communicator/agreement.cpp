#include "parallel/communicator/agreement.h"

namespace ropewalk {

std::optional<RankText> first_text(Communicator& world, const std::optional<std::string>& mine) {
  const int from_the_end = static_cast<int>(maximum_of(world, mine ? world.size() - world.rank() : 0));
  if (from_the_end == 0) return std::nullopt;
  const int rank = world.size() - from_the_end;
  return RankText{rank, broadcast_text(world, mine.value_or(""), rank)};
}

std::optional<std::string> first_failure(Communicator& world, const std::function<void()>& work) {
  std::optional<std::string> mine;
  try {
    work();
  } catch (const std::exception& error) {
    mine = error.what();
  }
  const std::optional<RankText> first = first_text(world, mine);
  if (!first) return std::nullopt;
  return world.size() == 1 ? first->text : fmt::format("rank {}: {}", first->rank, first->text);
}

void all_or_none(Communicator& world, const std::function<void()>& work) {
  if (const std::optional<std::string> failure = first_failure(world, work)) throw CheckpointError(*failure);
}

}  // namespace ropewalk
