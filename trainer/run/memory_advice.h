// Settings that make a run need less memory, each with its price, and the fewest that make it fit.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "trainer/run/plan_evaluation.h"

namespace ropewalk {

// What a change of settings does to the stage that needs most memory.
struct Change {
  std::vector<std::string> settings;  // "training.recompute=BLOCK"
  int64_t needed = 0;                 // bytes of the fullest rank, with them
  int64_t saved = 0;                  // bytes fewer
  int64_t sent_more = 0;              // bytes a step, by the rank that sends most
  double arithmetic_more = 0;         // of all ranks together, as a fraction; below 0: less
  int ranks_more = 0;
};

struct MemoryAdvice {
  std::vector<Change> changes;     // single ones, valid for the model, that save memory; the cheapest first
  std::optional<Change> smallest;  // the fewest settings that fit; of equally few, the fewest more ranks, then the
                                   // least arithmetic, then the fewest bytes
  std::optional<Change> with_these_ranks;  // the same, of changes that need no more ranks
};

// limit: bytes of memory for a rank; where it is 0 (not known) or enough, single changes are all. Else looks at
// combinations of up to four settings, for at most 15 s.
MemoryAdvice advise_on_memory(const Evaluation& now, const Reconfigure& reconfigure, Purpose purpose, int64_t limit);

}  // namespace ropewalk
