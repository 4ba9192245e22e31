// A tensor is a view: a pointer, an element type, a device and a shape. It owns no memory (Buffer and Arena do) and is
// always contiguous and row-major. It can be sliced along its first axis and reshaped; there are no other views.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "kernels/device.h"
#include "kernels/dtype.h"
#include "kernels/error.h"

namespace ropewalk {

// Up to four extents, outermost first.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> extents);

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return extents_[static_cast<size_t>(axis)]; }
  int64_t elements() const;
  bool operator==(const Shape&) const = default;
  std::string text() const;  // "[2, 16, 64]"

 private:
  std::array<int64_t, 4> extents_{};
  int rank_ = 0;
};

class Tensor {
 public:
  Tensor() = default;  // empty: no data; operations call it "absent"
  Tensor(void* data, DType dtype, Device device, Shape shape)
      : data_(data), dtype_(dtype), device_(device), shape_(shape) {}

  bool empty() const { return shape_.rank() == 0; }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  const Shape& shape() const { return shape_; }
  int64_t extent(int axis) const { return shape_[axis]; }
  int64_t rows() const { return shape_[0]; }
  int64_t elements() const { return shape_.elements(); }
  int64_t bytes() const { return elements() * size_of(dtype_); }

  void* raw() const { return data_; }
  // The elements as T. Fails CHECK if T does not match dtype().
  template <typename T>
  T* data() const {
    CHECK(dtype_of<T> == dtype_, "a tensor of {} read as {}", name_of(dtype_), name_of(dtype_of<T>));
    return static_cast<T*>(data_);
  }

  Tensor slice(int64_t begin, int64_t end) const;  // rows [begin, end) of the first axis
  Tensor reshape(Shape shape) const;               // the same elements, another shape
  Tensor flat() const { return reshape({elements()}); }

 private:
  void* data_ = nullptr;
  DType dtype_ = DType::kF32;
  Device device_;
  Shape shape_;
};

// Owns memory on a device; made by Kernels::allocate.
class Buffer {
 public:
  virtual ~Buffer() = default;
  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 protected:
  Buffer(void* data, int64_t bytes) : data_(data), bytes_(bytes) {}
  void* data_;
  int64_t bytes_;
};

}  // namespace ropewalk
