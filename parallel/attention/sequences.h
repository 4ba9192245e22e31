// The sequences of a micro-batch as this rank holds them: B sequences with the same layout, each with documents packed
// into it. Of the S tokens of each sequence this rank holds T. Rows of activations are ordered [B, T].
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/tensor.h"
#include "parallel/attention/sequence_layout.h"

namespace ropewalk {

struct Sequences {
  const SequenceLayout* layout = nullptr;
  int64_t count = 0;         // B
  int64_t local_length = 0;  // T = layout->local_length(rank in the sequence group)
  Tensor tokens;             // [B * T] i32
  Tensor targets;            // [B * T] i32: the next token; -1 where there is no target (the end of a document)
  std::vector<int32_t> targets_on_host;         // [B * T]: the same on the host; empty for an estimate
  Tensor document_begin;                        // [B * T] i32: AttentionSpan::document_begin of each row
  std::vector<std::vector<int32_t>> documents;  // B x [S], on the host: document_begin of every position.
                                                // If each sequence is one document, both are empty: `documents`
                                                // and the tensor document_begin
};

}  // namespace ropewalk
