#include "kernels/arena.h"

#include <algorithm>

#include "kernels/host_buffer.h"
#include "kernels/kernels.h"
#include "kernels/range.h"

namespace ropewalk {
namespace {
constexpr int64_t kPage = 4096;

// Bytes that a tensor occupies. Padding behind large ones makes their successors begin at other offsets in their pages.
int64_t room_of(int64_t bytes) {
  return round_up(std::max<int64_t>(bytes, 1), kAlignment) + (bytes >= kPage ? kStagger : 0);
}
}  // namespace

void Arena::reserve(int64_t bytes) {
  CHECK(blocks_.empty(), "the arena already has {} bytes and cannot reserve {} more", reserved_bytes(), bytes);
  if (bytes > 0) blocks_.push_back(kernels_.allocate(bytes));
}

Tensor Arena::allocate(DType dtype, Shape shape) {
  const int64_t bytes = room_of(shape.elements() * size_of(dtype));
  while (block_ < blocks_.size() && offset_ + bytes > blocks_[block_]->bytes()) {
    ++block_;
    offset_ = 0;
  }
  if (block_ == blocks_.size()) blocks_.push_back(kernels_.allocate(std::max(bytes, block_bytes_)));
  void* data = static_cast<std::byte*>(blocks_[block_]->data()) + offset_;
  offset_ += bytes;
  used_ += bytes;
  peak_ = std::max(peak_, used_);
  return Tensor(data, dtype, kernels_.device(), shape);
}

int64_t Arena::reserved_bytes() const {
  int64_t total = 0;
  for (const auto& block : blocks_) total += block->bytes();
  return total;
}

void Arena::release(Position position) {
  block_ = position.block;
  offset_ = position.offset;
  used_ = position.used;
}

}  // namespace ropewalk
