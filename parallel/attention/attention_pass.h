// The common part of ring and halo attention: one rank's forward or backward pass as a series of visits. A visit
// computes attention between some rows of queries and some rows of keys. Ring and halo differ in the rows that they
// visit, and in the messages that are in flight meanwhile.
#pragma once

#include <optional>

#include "kernels/arena.h"
#include "kernels/kernels.h"
#include "parallel/attention/local_rows.h"
#include "parallel/attention/sequences.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

// Keys and values, or their gradients, each [N, G, K].
struct KeyValues {
  Tensor keys, values;
};
KeyValues split_key_values(const Tensor& kv);  // [2, N, G, K]

// document_begin of each position of sequence b, [S]; empty: one document.
const std::vector<int32_t>& documents_of(const Sequences& sequences, int64_t b);

// A visit polls Transfer::progress() after every 384 queries. Longer visits have more bytes in flight, but also
// proportionally more polls, so the bytes per poll do not grow. 384 queries are enough work to hide the cost of a poll.
// With R query heads per KV head, the CPU kernels work on blocks of 96 / R queries (attention_tiles.h); 384 is a
// multiple of this block size for any R that divides 96.
inline constexpr int64_t kQueriesPerProgress = 384;

// Fails CHECK unless all shapes fit the layout and each other.
void check_attention(const Communicator& group, const Tensor& q, const Tensor& kv, const Sequences& sequences);

// In both classes below, visit() computes kQueriesPerProgress queries at a time and polls `exchange` after each part,
// if exchange->needs_polling(). Null: no exchange is in flight.

// Starts with lse = -infinity, an empty softmax; each visit merges its keys into (o, lse). Every query must see a key,
// or its row of o keeps what it held.
class ForwardPass {
 public:
  ForwardPass(Kernels& kernels, std::optional<int64_t> window, const Tensor& q, const Sequences& sequences,
              const Tensor& o, const Tensor& lse);
  void visit(const LocalRows& queries, const KeyValues& kv, const LocalRows& keys, Transfer* exchange) const;

 private:
  Kernels& kernels_;
  std::optional<int64_t> window_;
  Tensor q_, document_begin_, o_, lse_;
};

// Starts with dq = 0; each visit adds to dq and to the given dkv. Computes delta (Kernels::attention_delta) in memory
// from the arena.
class BackwardPass {
 public:
  BackwardPass(Kernels& kernels, std::optional<int64_t> window, const Tensor& q, const Sequences& sequences,
               const Tensor& o, const Tensor& lse, const Tensor& d_o, const Tensor& dq, Arena& arena);
  void visit(const LocalRows& queries, const KeyValues& kv, const LocalRows& keys, const KeyValues& dkv,
             Transfer* exchange) const;

 private:
  Kernels& kernels_;
  std::optional<int64_t> window_;
  Tensor q_, document_begin_, lse_, delta_, d_o_, dq_;
};

}  // namespace ropewalk
