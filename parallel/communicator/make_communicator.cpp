#include "parallel/communicator/make_communicator.h"

#include "kernels/cuda_module.h"
#include "parallel/communicator/mpi_communicator.h"
#include "parallel/communicator/thread_communicator.h"

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

std::shared_ptr<Communicator> make_device_world(std::shared_ptr<Communicator> host, Kernels& kernels,
                                                DeviceTransport transport, const WorldOptions& options) {
  if (kernels.device().kind == Device::Kind::kHost) return host;
  using Make =
      std::shared_ptr<Communicator>(std::shared_ptr<Communicator>, Kernels&, DeviceTransport, const WorldOptions&);
  return cuda_function<Make>("ropewalk_make_cuda_world")(std::move(host), kernels, transport, options);
}

}  // namespace ropewalk
