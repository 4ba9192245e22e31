// One rank's forward or backward pass of attention over a shared sequence, as visits of (piece of queries, piece of
// keys): the common part of ring and halo. They differ in which pieces they visit and in what moves meanwhile.
#pragma once

#include <optional>

#include "kernels/arena.h"
#include "kernels/kernels.h"
#include "parallel/attention/sequences.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

// Keys and values, or their gradients, that move together, each [N, G, K].
struct KeyValues {
  Tensor keys, values;
};
KeyValues split_key_values(const Tensor& kv);  // [2, N, G, K]

// document_begin of sequence b; empty: one document.
const std::vector<int32_t>& documents_of(const Sequences& sequences, int64_t b);

// Rows [from, to) of a piece, and the same piece where the rows of its tensor begin `rows` later (sequence b: b * T).
Piece part_of(const Piece& piece, int64_t from, int64_t to);
Piece shifted(const Piece& piece, int64_t rows);

// The backward computes what needs no other rank in two halves, each while an exchange is in flight. It cuts every
// piece of queries in the middle.
enum class Half { kFirst, kSecond };
Piece half_of(const Piece& piece, Half half);

// Queries of a visit between two polls of Transfer::progress(). Bytes in flight and polls both grow with the piece, so
// the bytes per poll stay few; the work in between is long enough to hide the cost of a poll. Whole tiles of the CPU
// kernels for the usual groups of heads.
inline constexpr int64_t kQueriesPerProgress = 384;

// All shapes must fit the layout and each other.
void check_attention(const Communicator& group, const Tensor& q, const Tensor& kv, const Sequences& sequences);

// In both passes a visit proceeds in parts and polls `exchange` after each, where that needs polling. Null: no exchange
// is in flight.

// Starts from an empty softmax, o = 0 and lse = -infinity, and merges one piece of keys after another into it.
class ForwardPass {
 public:
  ForwardPass(Kernels& kernels, std::optional<int64_t> window, const Tensor& q, const Sequences& sequences,
              const Tensor& o, const Tensor& lse);
  void visit(const Piece& queries, const KeyValues& kv, const Piece& keys, Transfer* exchange) const;

 private:
  Kernels& kernels_;
  std::optional<int64_t> window_;
  Tensor q_, document_begin_, o_, lse_;
};

// Starts from dq = 0 and adds to dq and to the given dkv, one piece of keys after another. Takes delta from the arena.
class BackwardPass {
 public:
  BackwardPass(Kernels& kernels, std::optional<int64_t> window, const Tensor& q, const Sequences& sequences,
               const Tensor& o, const Tensor& lse, const Tensor& d_o, const Tensor& dq, Arena& arena);
  void visit(const Piece& queries, const KeyValues& kv, const Piece& keys, const KeyValues& dkv,
             Transfer* exchange) const;

 private:
  Kernels& kernels_;
  std::optional<int64_t> window_;
  Tensor q_, document_begin_, lse_, delta_, d_o_, dq_;
};

}  // namespace ropewalk
