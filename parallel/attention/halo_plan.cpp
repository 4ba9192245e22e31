#include "parallel/attention/halo_plan.h"

#include <algorithm>

#include "kernels/error.h"

namespace ropewalk {
namespace {

struct OwnedPiece {
  int rank;
  Piece piece;
};

// All pieces in order of position: together they are [0, S) without a gap.
std::vector<OwnedPiece> pieces_by_position(const SequenceLayout& layout) {
  std::vector<OwnedPiece> out;
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    for (const Piece& piece : layout.pieces(rank)) out.push_back({rank, piece});
  }
  std::sort(out.begin(), out.end(),
            [](const OwnedPiece& a, const OwnedPiece& b) { return a.piece.begin < b.piece.begin; });
  return out;
}

// Where the halo of `piece` begins: the window of its first query, cut at that query's document.
int64_t halo_begin(const Piece& piece, int64_t window, const std::vector<int32_t>& document_begin) {
  const int64_t document = document_begin.empty() ? 0 : document_begin[static_cast<size_t>(piece.begin)];
  CHECK(0 <= document && document <= piece.begin, "position {} in a document that begins at {}", piece.begin, document);
  return std::max(piece.begin - (window - 1), document);
}

// Cuts the positions [span.begin, span.end) into ranges that lie in one piece each, and calls visit(HaloRange) for each
// range, in order of position.
template <typename Visit>
void split_by_owner(const std::vector<OwnedPiece>& owners, int to, const HaloSpan& span, Visit visit) {
  auto owner = std::partition_point(owners.begin(), owners.end(),
                                    [&](const OwnedPiece& o) { return o.piece.end <= span.begin; });
  for (int64_t position = span.begin; position < span.end; ++owner) {
    const int64_t end = std::min(owner->piece.end, span.end);
    visit(HaloRange{.from = owner->rank,
                    .to = to,
                    .begin = position,
                    .end = end,
                    .from_local = owner->piece.local + position - owner->piece.begin,
                    .to_halo = span.halo + position - span.begin});
    position = end;
  }
}

}  // namespace

int64_t HaloPlan::sent_rows() const {
  int64_t rows = 0;
  for (const HaloRange& range : sends) rows += range.size();
  return rows;
}

// Every rank walks all ranks' pieces in the same order and keeps the ranges that it sends, receives or copies, so the
// ranges between two ranks have the same order at both ends.
HaloPlan make_halo_plan(const SequenceLayout& layout, int rank, int64_t window,
                        const std::vector<int32_t>& document_begin) {
  CHECK(window >= 1, "a window of {} keys", window);
  CHECK(document_begin.empty() || static_cast<int64_t>(document_begin.size()) == layout.length(),
        "documents of {} positions in a sequence of {}", document_begin.size(), layout.length());
  const std::vector<OwnedPiece> owners = pieces_by_position(layout);
  HaloPlan plan;
  for (int to = 0; to < layout.ranks(); ++to) {
    int64_t halo_rows = 0;
    for (const Piece& piece : layout.pieces(to)) {
      const HaloSpan span{halo_begin(piece, window, document_begin), piece.begin, halo_rows};
      halo_rows += span.size();
      if (to == rank) plan.spans.push_back(span);
      split_by_owner(owners, to, span, [&](const HaloRange& range) {
        if (range.from == rank && to == rank) {
          plan.copies.push_back(range);
        } else if (range.from == rank) {
          plan.sends.push_back(range);
        } else if (to == rank) {
          plan.receives.push_back(range);
        }
      });
    }
    if (to == rank) plan.halo_rows = halo_rows;
  }
  return plan;
}

}  // namespace ropewalk
