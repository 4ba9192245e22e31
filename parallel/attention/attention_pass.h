// One rank's forward or backward pass of attention over a shared sequence, as visits of (piece of queries, piece of
// keys): what the ring and the halo have in common. They differ in which pieces they visit and in what moves meanwhile.
#pragma once

#include <optional>

#include "kernels/arena.h"
#include "kernels/kernels.h"
#include "parallel/attention/sequences.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

// Keys and values (or their gradients) that travel together, each [N, G, K].
struct KeyValues {
  Tensor keys, values;
};
KeyValues split_key_values(const Tensor& kv);  // [2, N, G, K]

// document_begin of sequence b; empty: one document.
const std::vector<int32_t>& documents_of(const Sequences& sequences, int64_t b);

// Rows [from, to) of a piece, and the same piece where the rows of its tensor begin `rows` later (sequence b: b * T).
Piece part_of(const Piece& piece, int64_t from, int64_t to);
Piece shifted(const Piece& piece, int64_t rows);

// The backward computes what needs no other rank in two halves, each while something travels; every piece of queries is
// cut in its middle.
enum class Half { kFirst, kSecond };
Piece half_of(const Piece& piece, Half half);

// Queries of a visit between two calls of Transfer::progress(). The bytes in flight grow with the pieces, as the number
// of calls does, so what is left for one call stays small; the work in between is long enough to make a call free.
// Whole tiles of the cpu kernels for the usual groups of heads.
inline constexpr int64_t kQueriesPerProgress = 384;

// All shapes must fit the layout and each other.
void check_attention(const Communicator& group, const Tensor& q, const Tensor& kv, const Sequences& sequences);

// In both passes a visit during which an exchange is in flight that needs driving goes in parts, and drives it after
// each. Null: none is in flight.

// Starts as an empty softmax, o = 0 and lse = -infinity, and merges piece after piece of keys into it.
class ForwardPass {
 public:
  ForwardPass(Kernels& kernels, std::optional<int64_t> window, const Tensor& q, const Sequences& sequences,
              const Tensor& o, const Tensor& lse);
  void visit(const Piece& queries, const KeyValues& kv, const Piece& keys, Transfer* in_flight) const;

 private:
  Kernels& kernels_;
  std::optional<int64_t> window_;
  Tensor q_, document_begin_, o_, lse_;
};

// Starts from dq = 0 and adds to dq, and to the dkv it is given, piece after piece of keys. Takes delta from the arena.
class BackwardPass {
 public:
  BackwardPass(Kernels& kernels, std::optional<int64_t> window, const Tensor& q, const Sequences& sequences,
               const Tensor& o, const Tensor& lse, const Tensor& d_o, const Tensor& dq, Arena& arena);
  void visit(const Piece& queries, const KeyValues& kv, const Piece& keys, const KeyValues& dkv,
             Transfer* in_flight) const;

 private:
  Kernels& kernels_;
  std::optional<int64_t> window_;
  Tensor q_, document_begin_, lse_, delta_, d_o_, dq_;
};

}  // namespace ropewalk
