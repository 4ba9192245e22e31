// Sliding-window attention that moves only the halos: the window-1 rows of keys and values before each piece, O(window)
// instead of O(S). halo_plan.h schedules which rank sends which rows; they move from tensor to tensor, without packing.
//
//   forward   fetch the halo       | meanwhile  queries with the keys of their own piece
//             then                   the first window-1 queries of each piece with its halo
//   backward (of several ranks; one rank, which exchanges nothing, computes all of a piece's queries at once)
//             fetch the halo again | meanwhile  the first half of each piece's queries with the piece's own keys
//             then                   the first window-1 queries with the halo: dk, dv of the halo rows
//             return these to        | meanwhile  the second half of each piece's queries with the piece's own keys
//               the rows' owners
//             then                   dk, dv of own rows += what was returned, in the order of the plan
//
// The backward fetches the halo again instead of keeping it: no memory of O(window) lives from the forward to the
// backward, and computation hides the fetch. Each rank sends, in the forward, sent_rows * 2 G K values of the compute
// type; in the backward the same again, and (its received rows) * 2 G K values of the accumulator type.
#include <algorithm>
#include <vector>

#include "parallel/attention/attention.h"
#include "parallel/attention/attention_pass.h"
#include "parallel/attention/halo_plan.h"

namespace ropewalk {
namespace {

// The plan of one sequence, and where its rows begin in tensors that hold all B sequences.
struct SequenceHalo {
  HaloPlan plan;
  int64_t local_row;  // in this rank's own tensors
  int64_t halo_row;   // in the halo buffers
  int64_t home_row;   // in the buffer of returned gradients
};

// The halos of all sequences of a micro-batch.
struct BatchHalo {
  std::vector<SequenceHalo> sequences;
  int64_t halo_rows = 0, home_rows = 0;
};

BatchHalo plan_batch(const Sequences& sequences, int rank, int64_t window) {
  BatchHalo out;
  for (int64_t b = 0; b < sequences.count; ++b) {
    HaloPlan plan = make_halo_plan(*sequences.layout, rank, window, documents_of(sequences, b));
    const int64_t halo_rows = plan.halo_rows, home_rows = plan.sent_rows();
    out.sequences.push_back({std::move(plan), b * sequences.local_length, out.halo_rows, out.home_rows});
    out.halo_rows += halo_rows;
    out.home_rows += home_rows;
  }
  return out;
}

// Rows [begin, begin + size) of both.
KeyValues rows_of(const KeyValues& x, int64_t begin, int64_t size) {
  return {x.keys.slice(begin, begin + size), x.values.slice(begin, begin + size)};
}

void append(std::vector<Message>& messages, int peer, const KeyValues& rows) {
  messages.push_back({peer, rows.keys});
  messages.push_back({peer, rows.values});
}

class HaloAttention final : public DistributedAttention {
 public:
  HaloAttention(Kernels& kernels, Communicator& group, int64_t window)
      : kernels_(kernels), group_(group), window_(window) {}

  void forward(const Tensor& q, const Tensor& kv, const Sequences& sequences, const Tensor& o, const Tensor& lse,
               Arena& arena) override {
    check_attention(group_, q, kv, sequences);
    const ArenaScope scope(arena);
    const BatchHalo batch = plan_batch(sequences, group_.rank(), window_);
    const KeyValues own = split_key_values(kv), halo = allocate(kv.dtype(), batch.halo_rows, kv, arena);

    const std::unique_ptr<Transfer> fetch = start_fetch(batch, own, halo);
    const ForwardPass pass(kernels_, window_, q, sequences, o, lse);
    for_each_piece(batch, sequences,
                   [&](const LocalRows& piece, const LocalRows&) { pass.visit(piece, own, piece, fetch.get()); });
    if (fetch) fetch->wait();
    for_each_piece(batch, sequences, [&](const LocalRows& piece, const LocalRows& before) {
      pass.visit(first_queries(piece), halo, before, nullptr);
    });
  }

  void backward(const Tensor& q, const Tensor& kv, const Sequences& sequences, const Tensor& o, const Tensor& lse,
                const Tensor& d_o, const Tensor& dq, const Tensor& dkv, Arena& arena) override {
    check_attention(group_, q, kv, sequences);
    const ArenaScope scope(arena);
    const BatchHalo batch = plan_batch(sequences, group_.rank(), window_);
    const KeyValues own = split_key_values(kv), halo = allocate(kv.dtype(), batch.halo_rows, kv, arena);
    const KeyValues d_own = split_key_values(dkv), d_halo = allocate(dkv.dtype(), batch.halo_rows, kv, arena);
    const KeyValues d_home = allocate(dkv.dtype(), batch.home_rows, kv, arena);

    const std::unique_ptr<Transfer> fetch = start_fetch(batch, own, halo);
    const BackwardPass pass(kernels_, window_, q, sequences, o, lse, d_o, dq, arena);
    for (const Tensor& x : {d_own.keys, d_own.values, d_halo.keys, d_halo.values}) kernels_.fill(x, 0.0);
    for_each_piece(batch, sequences, [&](const LocalRows& piece, const LocalRows&) {
      pass.visit(part_of(piece, 0, cut_of(piece)), own, piece, d_own, fetch.get());
    });
    if (fetch) fetch->wait();
    for_each_piece(batch, sequences, [&](const LocalRows& piece, const LocalRows& before) {
      pass.visit(first_queries(piece), halo, before, d_halo, nullptr);
    });
    const std::unique_ptr<Transfer> homeward = start_return(batch, d_halo, d_home);
    for_each_piece(batch, sequences, [&](const LocalRows& piece, const LocalRows&) {
      pass.visit(part_of(piece, cut_of(piece), piece.count), own, piece, d_own, homeward.get());
    });
    if (homeward) homeward->wait();
    add_returned(batch, d_halo, d_home, d_own);
  }

 private:
  static KeyValues allocate(DType dtype, int64_t rows, const Tensor& kv, Arena& arena) {
    return split_key_values(arena.allocate(dtype, {2, rows, kv.extent(2), kv.extent(3)}));
  }

  // The queries that may see keys before their piece.
  LocalRows first_queries(const LocalRows& piece) const {
    return part_of(piece, 0, std::min(window_ - 1, piece.count));
  }
  // Where the backward cuts the queries of a piece: the first part is computed during one exchange, the second during
  // the other. A single rank exchanges nothing, and computes all in the first.
  int64_t cut_of(const LocalRows& piece) const { return group_.size() == 1 ? piece.count : piece.count / 2; }

  // Calls visit(piece, its halo) for each piece of each sequence; `local` of the piece counts rows of this rank's
  // tensors, `local` of the halo rows of the halo buffers.
  template <typename Visit>
  void for_each_piece(const BatchHalo& batch, const Sequences& sequences, Visit visit) const {
    const Pieces pieces = sequences.layout->pieces(group_.rank());
    for (const SequenceHalo& sequence : batch.sequences) {
      for (size_t i = 0; i < pieces.size(); ++i) {
        const HaloSpan& span = sequence.plan.spans[i];
        visit(shifted(pieces[i], sequence.local_row), Piece{span.begin, span.end, sequence.halo_row + span.halo});
      }
    }
  }

  // Fills the halo: this rank's own rows at once, rows of other ranks by the exchange, which the caller waits for.
  std::unique_ptr<Transfer> start_fetch(const BatchHalo& batch, const KeyValues& own, const KeyValues& halo) const {
    std::vector<Message> sends, receives;
    for (const SequenceHalo& sequence : batch.sequences) {
      for (const HaloRange& range : sequence.plan.sends) {
        append(sends, range.to, rows_of(own, sequence.local_row + range.from_local, range.size()));
      }
      for (const HaloRange& range : sequence.plan.receives) {
        append(receives, range.from, rows_of(halo, sequence.halo_row + range.to_halo, range.size()));
      }
    }
    std::unique_ptr<Transfer> exchange = start(sends, receives);
    for (const SequenceHalo& sequence : batch.sequences) {
      for (const HaloRange& range : sequence.plan.copies) {
        const KeyValues from = rows_of(own, sequence.local_row + range.from_local, range.size());
        const KeyValues to = rows_of(halo, sequence.halo_row + range.to_halo, range.size());
        kernels_.copy(from.keys, to.keys);
        kernels_.copy(from.values, to.values);
      }
    }
    return exchange;
  }

  // Sends the gradients of halo rows to the ranks that hold the rows. Those of this rank's rows arrive in d_home, in
  // the order in which the plan sends the rows.
  std::unique_ptr<Transfer> start_return(const BatchHalo& batch, const KeyValues& d_halo,
                                         const KeyValues& d_home) const {
    std::vector<Message> sends, receives;
    for (const SequenceHalo& sequence : batch.sequences) {
      for (const HaloRange& range : sequence.plan.receives) {
        append(sends, range.from, rows_of(d_halo, sequence.halo_row + range.to_halo, range.size()));
      }
      int64_t row = sequence.home_row;
      for (const HaloRange& range : sequence.plan.sends) {
        append(receives, range.to, rows_of(d_home, row, range.size()));
        row += range.size();
      }
    }
    return start(sends, receives);
  }

  // Adds to d_own what other ranks have returned, and what this rank's pieces contribute to each other's rows.
  void add_returned(const BatchHalo& batch, const KeyValues& d_halo, const KeyValues& d_home,
                    const KeyValues& d_own) const {
    for (const SequenceHalo& sequence : batch.sequences) {
      int64_t row = sequence.home_row;
      for (const HaloRange& range : sequence.plan.sends) {
        add(rows_of(d_home, row, range.size()), rows_of(d_own, sequence.local_row + range.from_local, range.size()));
        row += range.size();
      }
      for (const HaloRange& range : sequence.plan.copies) {
        add(rows_of(d_halo, sequence.halo_row + range.to_halo, range.size()),
            rows_of(d_own, sequence.local_row + range.from_local, range.size()));
      }
    }
  }
  void add(const KeyValues& from, const KeyValues& to) const {
    kernels_.add(to.keys, from.keys, to.keys);
    kernels_.add(to.values, from.values, to.values);
  }

  // Every rank of the group starts the exchange, even without messages. A single rank has no exchange.
  std::unique_ptr<Transfer> start(const std::vector<Message>& sends, const std::vector<Message>& receives) const {
    return group_.size() == 1 ? nullptr : group_.start_exchange(sends, receives);
  }

  Kernels& kernels_;
  Communicator& group_;
  int64_t window_;
};

}  // namespace

std::unique_ptr<DistributedAttention> make_halo_attention(Kernels& kernels, Communicator& group, int64_t window) {
  CHECK(window >= 1, "a window of {} keys", window);
  return std::make_unique<HaloAttention>(kernels, group, window);
}

}  // namespace ropewalk
