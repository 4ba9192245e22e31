#include "parallel/make_communicator.h"

#include "parallel/mpi_communicator.h"
#include "parallel/thread_communicator.h"

namespace ropewalk {

std::shared_ptr<Communicator> make_world(Transport transport, const WorldOptions& options) {
  switch (transport) {
    case Transport::kSingle:
      return ThreadWorld(1, options.deadline).communicator(0);
    case Transport::kMpi:
      return make_mpi_world(options);
  }
  CHECK(false, "transport {}", static_cast<int>(transport));
}

}  // namespace ropewalk
