// Checks of the arguments of a communicator's calls, the same for every transport. A wrong argument fails CHECK.
#pragma once

#include "parallel/communicator/collective.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

void check_on_host(const Tensor& x, Collective collective);
void check_peer(int peer, const Communicator& group);
void check_root(int root, const Communicator& group);
void check_reduced(const Tensor& x);  // its element type can be added: not u8
// `rows` cuts `all` into one part per rank; `mine` has the rows, row size, element type and device of this rank's part.
void check_parts(Collective collective, const Tensor& all, const Partition& rows, const Tensor& mine,
                 const Communicator& group);

// The same cut, counted in elements instead of rows.
Partition in_elements(const Partition& rows, const Tensor& all);

}  // namespace ropewalk
