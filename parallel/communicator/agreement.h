// How ranks agree on whether all of them could do their part.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "parallel/communicator/communicator.h"

namespace ropewalk {

// The lowest rank that has a text, and the text; nothing if none has. Collective.
struct RankText {
  int rank;
  std::string text;
};
std::optional<RankText> first_text(Communicator& world, const std::optional<std::string>& mine);

// Each rank does its work, in which it does not communicate. Collective; returns the same on all ranks: nothing if none
// threw, else what the first rank that did has to say.
std::optional<std::string> first_failure(Communicator& world, const std::function<void()>& work);

// The same, but throws it on all ranks as a CheckpointError.
void all_or_none(Communicator& world, const std::function<void()>& work);

}  // namespace ropewalk
