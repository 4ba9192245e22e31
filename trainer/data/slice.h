// A context-parallel rank's part of a micro-batch: the pieces of each sequence that the layout assigns to the rank,
// copied to the rank's device.
#pragma once

#include <span>

#include "kernels/arena.h"
#include "kernels/kernels.h"
#include "parallel/attention/sequences.h"
#include "trainer/data/batch.h"

namespace ropewalk {

// All samples must have layout.length() tokens. The tensors are in the arena; `layout` must outlive the result.
Sequences slice(std::span<const Sample> samples, const SequenceLayout& layout, int context_rank, Kernels& kernels,
                Arena& arena);

}  // namespace ropewalk
