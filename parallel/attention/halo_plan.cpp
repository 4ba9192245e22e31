#include "parallel/attention/halo_plan.h"

#include <algorithm>

#include "kernels/error.h"

namespace ropewalk {
namespace {

// Where the halo of `piece` begins: with the window of its first query, but not before that query's document.
int64_t halo_begin(const Piece& piece, int64_t window, const std::vector<int32_t>& document_begin) {
  const int64_t document = document_begin.empty() ? 0 : document_begin[static_cast<size_t>(piece.begin)];
  CHECK(0 <= document && document <= piece.begin, "position {} in a document that begins at {}", piece.begin, document);
  return std::max(piece.begin - (window - 1), document);
}

std::vector<HaloSpan> spans_of(const SequenceLayout& layout, int rank, int64_t window,
                               const std::vector<int32_t>& document_begin) {
  std::vector<HaloSpan> spans;
  int64_t rows = 0;
  for (const Piece& piece : layout.pieces(rank)) {
    spans.push_back({halo_begin(piece, window, document_begin), piece.begin, rows});
    rows += spans.back().size();
  }
  return spans;
}

// The part of positions [begin, end) that one piece holds and one halo span needs.
HaloRange range_of(const HeldPiece& owner, int to, const HaloSpan& span, int64_t begin, int64_t end) {
  return {.from = owner.rank,
          .to = to,
          .begin = begin,
          .end = end,
          .from_local = owner.piece.local + begin - owner.piece.begin,
          .to_halo = span.halo + begin - span.begin};
}

}  // namespace

int64_t HaloPlan::sent_rows() const {
  int64_t rows = 0;
  for (const HaloRange& range : sends) rows += range.size();
  return rows;
}

int64_t HaloPlan::received_rows() const {
  int64_t rows = 0;
  for (const HaloRange& range : receives) rows += range.size();
  return rows;
}

// Both ends list the ranges between two ranks in the order of the receiver's halo rows. A plan takes only as many steps
// as pieces lie within a window of the rank's own.
HaloPlan make_halo_plan(const SequenceLayout& layout, int rank, int64_t window,
                        const std::vector<int32_t>& document_begin) {
  CHECK(window >= 1, "a window of {} keys", window);
  CHECK(document_begin.empty() || static_cast<int64_t>(document_begin.size()) == layout.length(),
        "documents of {} positions in a sequence of {}", document_begin.size(), layout.length());
  HaloPlan plan;
  plan.spans = spans_of(layout, rank, window, document_begin);
  for (const HaloSpan& span : plan.spans) {
    plan.halo_rows += span.size();
    for (int64_t position = span.begin; position < span.end;) {
      const HeldPiece owner = layout.piece_at(position);
      const int64_t end = std::min(owner.piece.end, span.end);
      (owner.rank == rank ? plan.copies : plan.receives).push_back(range_of(owner, rank, span, position, end));
      position = end;
    }
  }
  for (const Piece& own : layout.pieces(rank)) {
    // Later pieces whose first query's window reaches back to this one.
    for (int64_t position = own.end; position < std::min(layout.length(), own.end + window - 1);) {
      const HeldPiece later = layout.piece_at(position);
      position = later.piece.end;
      if (later.rank == rank) continue;
      for (const HaloSpan& span : spans_of(layout, later.rank, window, document_begin)) {
        const int64_t begin = std::max(span.begin, own.begin);
        if (span.end == later.piece.begin && begin < own.end)
          plan.sends.push_back(range_of({rank, own}, later.rank, span, begin, own.end));
      }
    }
  }
  std::ranges::sort(plan.sends, {}, [](const HaloRange& range) { return std::pair(range.to, range.to_halo); });
  return plan;
}

}  // namespace ropewalk
