#include "parallel/communicator.h"

namespace ropewalk {
namespace {

double reduced(Communicator& group, double value, Reduction reduction) {
  group.all_reduce(Tensor(&value, DType::kF64, Device{}, {1}), reduction);
  return value;
}

}  // namespace

double sum_of(Communicator& group, double value) { return reduced(group, value, Reduction::kSum); }
double maximum_of(Communicator& group, double value) { return reduced(group, value, Reduction::kMax); }
bool any_of(Communicator& group, bool value) { return maximum_of(group, value ? 1.0 : 0.0) > 0.0; }

void broadcast_bytes(Communicator& group, std::vector<uint8_t>& bytes, int root) {
  auto size = static_cast<int64_t>(bytes.size());
  group.broadcast(Tensor(&size, DType::kU8, Device{}, {sizeof(size)}), root);
  bytes.resize(static_cast<size_t>(size));
  group.broadcast(Tensor(bytes.data(), DType::kU8, Device{}, {size}), root);
}

}  // namespace ropewalk
