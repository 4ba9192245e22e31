// Settings that reduce the memory of a run, each with its price; and the smallest combination that makes the run fit.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "trainer/run/plan_evaluation.h"

namespace ropewalk {

// A change of settings and its effect: on memory over all stages, on communication and FLOPs of the stage that needs
// most memory now.
struct Change {
  std::vector<std::string> settings;  // "training.recompute=BLOCK"
  int64_t needed = 0;                 // bytes that the fullest rank needs after the change
  int64_t saved = 0;                  // bytes less than now
  int64_t sent_more = 0;  // increase of the bytes per step that a rank sends at most on each axis, summed over axes
  double arithmetic_more = 0;  // increase of the FLOPs of all ranks together, as a fraction
  int ranks_more = 0;
  bool fits = false;  // into what a rank of the changed mesh has; false if that is unknown
};

struct MemoryAdvice {
  std::vector<Change> changes;             // of one setting: all that are valid and save memory, the cheapest first
  std::optional<Change> smallest;          // the fewest settings that fit; ties: the fewest ranks, FLOPs, bytes sent
  std::optional<Change> with_these_ranks;  // the same among changes that add no ranks
};

// If the limit is unknown or suffices, only `changes` is filled. Otherwise combinations of up to four settings and
// 65,536 ranks are tried, too. More ranks must not raise the limit.
MemoryAdvice advise_on_memory(const Evaluation& now, const Reconfigure& reconfigure, Purpose purpose,
                              const MemoryLimit& limit);

}  // namespace ropewalk
