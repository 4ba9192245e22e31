// Checks of the arguments of a communicator, the same for every transport. They fail CHECK.
#pragma once

#include "parallel/communicator/collective.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

void check_on_host(const Tensor& x, Collective collective);
void check_peer(int peer, const Communicator& group);
void check_root(int root, const Communicator& group);
void check_reduced(const Tensor& x);  // of a type that can be added
// `rows` cuts `all` into one part per rank; `mine` is as large as this rank's part and in the same memory.
void check_parts(Collective collective, const Tensor& all, const Partition& rows, const Tensor& mine,
                 const Communicator& group);

// The cut of rows, counted in elements.
Partition in_elements(const Partition& rows, const Tensor& all);

}  // namespace ropewalk
