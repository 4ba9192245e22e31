// Attention over a sequence that the ranks of the sequence group share: ring_attention for full layers, halo_attention
// for sliding ones. Both walk the pieces of the zigzag layout and hand pairs of them to
// Kernels::attention_forward/backward.
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

  // q [B*T, H, K] and kv [2, B*T, G, K] (keys, then values; rotated where the layer rotates) of the compute type.
  // Sets o [B*T, H, K] and lse [B*T, H], both of the accumulator type. Takes scratch from the arena and returns it.
  virtual void forward(const Tensor& q, const Tensor& kv, const Sequences& sequences, const Tensor& o,
                       const Tensor& lse, Arena& arena) = 0;
  // From d_o [B*T, H, K] and the forward's o, both of the compute type, and its lse sets dq [B*T, H, K] and dkv [2,
  // B*T, G, K], both of the accumulator type: the sums over all ranks' queries.
  virtual void backward(const Tensor& q, const Tensor& kv, const Sequences& sequences, const Tensor& o,
                        const Tensor& lse, const Tensor& d_o, const Tensor& dq, const Tensor& dkv, Arena& arena) = 0;
};

// Full attention: the key heads travel once around the ring of `group`.
std::unique_ptr<DistributedAttention> make_ring_attention(Kernels& kernels, Communicator& group);
// Sliding attention: exactly the window-1 rows before each piece travel.
std::unique_ptr<DistributedAttention> make_halo_attention(Kernels& kernels, Communicator& group, int64_t window);

}  // namespace ropewalk
