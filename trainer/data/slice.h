// A rank's share of a micro-batch: its pieces of the layout, cut out of global sequences and brought to its device.
#pragma once

#include <span>

#include "kernels/arena.h"
#include "kernels/kernels.h"
#include "parallel/attention/sequences.h"
#include "trainer/data/batch.h"

namespace ropewalk {

// All samples have layout.length() tokens. The tensors are the arena's; `layout` must outlive the result.
Sequences slice(std::span<const Sample> samples, const SequenceLayout& layout, int context_rank, Kernels& kernels,
                Arena& arena);

}  // namespace ropewalk
