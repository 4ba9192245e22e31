#include "kernels/tensor.h"

#include <algorithm>

namespace ropewalk {

Shape::Shape(std::initializer_list<int64_t> extents) : rank_(static_cast<int>(extents.size())) {
  CHECK(extents.size() <= extents_.size(), "a shape of {} axes", extents.size());
  std::copy(extents.begin(), extents.end(), extents_.begin());
  for (int64_t extent : extents) CHECK(extent >= 0, "a negative extent in {}", text());
}

int64_t Shape::elements() const {
  if (rank_ == 0) return 0;
  int64_t product = 1;
  for (int axis = 0; axis < rank_; ++axis) product *= extents_[static_cast<size_t>(axis)];
  return product;
}

std::string Shape::text() const {
  std::string out = "[";
  for (int axis = 0; axis < rank_; ++axis) out += fmt::format("{}{}", axis ? ", " : "", (*this)[axis]);
  return out + "]";
}

Tensor Tensor::slice(int64_t begin, int64_t end) const {
  CHECK(0 <= begin && begin <= end && end <= rows(), "rows {}..{} of a tensor {}", begin, end, shape_.text());
  Shape shape;
  const int64_t rows = end - begin;
  switch (shape_.rank()) {
    case 1:
      shape = {rows};
      break;
    case 2:
      shape = {rows, shape_[1]};
      break;
    case 3:
      shape = {rows, shape_[1], shape_[2]};
      break;
    default:
      shape = {rows, shape_[1], shape_[2], shape_[3]};
      break;
  }
  const int64_t row_bytes = this->rows() ? bytes() / this->rows() : 0;
  return Tensor(static_cast<std::byte*>(data_) + begin * row_bytes, dtype_, device_, shape);
}

Tensor Tensor::reshape(Shape shape) const {
  CHECK(shape.elements() == elements(), "{} reshaped to {}", shape_.text(), shape.text());
  return Tensor(data_, dtype_, device_, shape);
}

}  // namespace ropewalk
