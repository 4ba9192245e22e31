// The schedule of the halo exchange of sliding-window attention: which rank sends which rows of k and v to which rank.
// A piece needs the window-1 rows before it, but none from before the document of its first query. Integers only;
// halo_attention.cpp moves the bytes. The backward sends the gradients of the same rows the other way.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/attention/sequence_layout.h"

namespace ropewalk {

// Rank `to` needs positions [begin, end), which rank `from` holds in its rows from `from_local` on. They go to the rows
// of the halo buffer of `to` from `to_halo` on. from == to: a local copy.
struct HaloRange {
  int from, to;
  int64_t begin, end;
  int64_t from_local, to_halo;
  int64_t size() const { return end - begin; }
};

// The keys before one piece: positions [begin, end), where `end` is the first position of the piece, in rows
// [halo, halo + size()) of the halo buffer.
struct HaloSpan {
  int64_t begin, end;
  int64_t halo;
  int64_t size() const { return end - begin; }
};

struct HaloPlan {
  // The ranges between two ranks have the same order in the sender's `sends` and the receiver's `receives`.
  std::vector<HaloRange> sends, receives, copies;
  std::vector<HaloSpan> spans;  // one for each piece of the rank; its size may be 0
  int64_t halo_rows = 0;        // of the rank's halo buffer
  int64_t sent_rows() const;
  int64_t received_rows() const;
};

// The plan of rank `rank`. document_begin[i]: where the document of position i begins, [S]; empty: one document.
// window >= 1.
HaloPlan make_halo_plan(const SequenceLayout& layout, int rank, int64_t window,
                        const std::vector<int32_t>& document_begin);

}  // namespace ropewalk
