// Context-parallel attention: the ranks of a context-parallel group (Mesh::sequence()) hold pieces of each sequence.
// Full attention uses a ring, sliding attention a halo exchange. Both call Kernels::attention_forward/backward for
// rows of queries and rows of keys that lie at one or two pieces of the zigzag layout. B, T: see sequences.h; H query
// heads and G KV heads on this rank; K: head size.
#pragma once

#include <memory>

#include "kernels/arena.h"
#include "kernels/kernels.h"
#include "parallel/attention/sequences.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

class DistributedAttention {
 public:
  virtual ~DistributedAttention() = default;

  // q [B*T, H, K] and kv [2, B*T, G, K] (keys, then values) have the compute type; the caller has applied RoPE, if the
  // layer has it. Sets o [B*T, H, K] and lse [B*T, H], both of the accumulator type. Takes scratch from the arena and
  // returns it.
  virtual void forward(const Tensor& q, const Tensor& kv, const Sequences& sequences, const Tensor& o,
                       const Tensor& lse, Arena& arena) = 0;
  // d_o and o [B*T, H, K] have the compute type: the caller has converted the forward's o. lse is the forward's. Sets
  // dq [B*T, H, K] and dkv [2, B*T, G, K], both of the accumulator type; dkv is the sum over the queries of all ranks.
  virtual void backward(const Tensor& q, const Tensor& kv, const Sequences& sequences, const Tensor& o,
                        const Tensor& lse, const Tensor& d_o, const Tensor& dq, const Tensor& dkv, Arena& arena) = 0;
};

// Full attention: each rank's keys and values travel once around the ring of `group`.
std::unique_ptr<DistributedAttention> make_ring_attention(Kernels& kernels, Communicator& group);
// Sliding attention: each piece needs the keys and values of the window-1 positions before it, except positions before
// the document of its first query. A rank copies the rows that it holds itself, and fetches the others.
std::unique_ptr<DistributedAttention> make_halo_attention(Kernels& kernels, Communicator& group, int64_t window);

}  // namespace ropewalk
