#include "parallel/communicator/checks.h"

namespace ropewalk {

void check_on_host(const Tensor& x, Collective collective) {
  CHECK(x.device().kind == Device::Kind::kHost, "{} of a tensor that is not in host memory", name_of(collective));
}

void check_peer(int peer, const Communicator& group) {
  CHECK(peer >= 0 && peer < group.size(), "a message for rank {} in a group of {}", peer, group.size());
}

void check_root(int root, const Communicator& group) {
  CHECK(root >= 0 && root < group.size(), "a broadcast from rank {} in a group of {}", root, group.size());
}

void check_reduced(const Tensor& x) { CHECK(x.dtype() != DType::kU8, "a reduction of {}", name_of(x.dtype())); }

void check_parts(Collective collective, const Tensor& all, const Partition& rows, const Tensor& mine,
                 const Communicator& group) {
  CHECK(rows.parts() == group.size(), "{} of {} parts in a group of {}", name_of(collective), rows.parts(),
        group.size());
  CHECK(all.device() == mine.device(), "{} from one memory to another", name_of(collective));
  CHECK(all.dtype() == mine.dtype(), "{} of {} and {}", name_of(collective), name_of(all.dtype()),
        name_of(mine.dtype()));
  const int64_t own = rows.size(group.rank());
  CHECK(all.rows() == rows.total() && mine.rows() == own, "{}: {} rows in all and {} here, cut into {} and {}",
        name_of(collective), all.rows(), mine.rows(), rows.total(), own);
  CHECK(mine.elements() * all.rows() == all.elements() * mine.rows(), "{}: rows of {} and {}", name_of(collective),
        all.shape().text(), mine.shape().text());
}

Partition in_elements(const Partition& rows, const Tensor& all) {
  const int64_t row = all.rows() > 0 ? all.elements() / all.rows() : 0;
  std::vector<int64_t> sizes;
  for (int part = 0; part < rows.parts(); ++part) sizes.push_back(rows.size(part) * row);
  return Partition::of_sizes(sizes);
}

}  // namespace ropewalk
