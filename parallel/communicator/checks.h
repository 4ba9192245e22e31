// Checks of what a communicator is asked to move, the same for every transport. They fail CHECK.
#pragma once

#include "parallel/communicator/collective.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

void check_on_host(const Tensor& x, Collective operation);
void check_peer(int peer, const Communicator& group);
void check_root(int root, const Communicator& group);
void check_reduced(const Tensor& x);  // of a type that can be added
// `all` is cut by rows into one part for each rank, and `mine` is as large as this rank's, in the same memory.
void check_parts(Collective operation, const Tensor& all, const Partition& rows, const Tensor& mine,
                 const Communicator& group);

// The cut of rows as a cut of elements.
Partition in_elements(const Partition& rows, const Tensor& all);

}  // namespace ropewalk
