// The ring on a backend that only counts, for estimates. It allocates the memory of RingAttention (ring_attention.cpp)
// and counts the same bytes and work, but handles all blocks in one step instead of one step per block. So a ring of
// thousands of ranks takes no more time than a ring of two.
#pragma once

#include <vector>

#include "parallel/attention/attention.h"

namespace ropewalk {

class CountedRing final : public DistributedAttention {
 public:
  CountedRing(Kernels& kernels, Communicator& group) : kernels_(kernels), group_(group) {}

  void forward(const Tensor& q, const Tensor& kv, const Sequences& sequences, const Tensor& o, const Tensor& lse,
               Arena& arena) override;
  void backward(const Tensor& q, const Tensor& kv, const Sequences& sequences, const Tensor& o, const Tensor& lse,
                const Tensor& d_o, const Tensor& dq, const Tensor& dkv, Arena& arena) override;

 private:
  Kernels& kernels_;
  Communicator& group_;
};

// Allocates `count` buffers, each large enough for the largest block of the ring; empty tensors in a ring of one rank.
std::vector<Tensor> allocate_ring_buffers(const Tensor& kv, const Sequences& sequences, DType dtype, int count,
                                          Arena& arena);

}  // namespace ropewalk
