#include "kernels/arena.h"

#include <gtest/gtest.h>

#include "kernels/make_kernels.h"

namespace ropewalk {
namespace {

class ArenaTest : public testing::Test {
 protected:
  std::unique_ptr<Kernels> kernels = make_kernels(BackendKind::kReferenceF32);
};

TEST_F(ArenaTest, HandsOutAlignedMemoryThatDoesNotOverlap) {
  Arena arena(*kernels, 1024);
  std::vector<Tensor> tensors;
  for (int64_t rows : {1, 3, 0, 17, 400, 5}) tensors.push_back(arena.allocate(DType::kF32, {rows, 2}));
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensors[i].raw()) % 64, 0u);
    kernels->fill(tensors[i], static_cast<double>(i));
  }
  for (size_t i = 0; i < tensors.size(); ++i)
    EXPECT_EQ(kernels->sum(tensors[i]), static_cast<double>(i) * static_cast<double>(tensors[i].elements()));
}

TEST_F(ArenaTest, GivesBackInStackOrderAndKeepsItsBlocks) {
  Arena arena(*kernels, 1024);
  const Tensor outer = arena.allocate(DType::kF64, {8});  // 64 bytes
  EXPECT_EQ(arena.used_bytes(), 64);
  void* first = nullptr;
  int64_t reserved = 0;
  for (int step = 0; step < 3; ++step) {
    const ArenaScope scope(arena);
    const Tensor inner = arena.allocate(DType::kF32, {100});  // 448 bytes with padding
    EXPECT_EQ(arena.used_bytes(), 64 + 448);
    {
      const ArenaScope deeper(arena);
      arena.allocate(DType::kU8, {5000});  // larger than a block and than a page
      EXPECT_EQ(arena.used_bytes(), 64 + 448 + 5632);
    }
    EXPECT_EQ(arena.used_bytes(), 64 + 448);
    if (step == 0) {
      first = inner.raw();
      reserved = arena.reserved_bytes();
      EXPECT_EQ(reserved, 1024 + 5632);
    }
    EXPECT_EQ(inner.raw(), first) << "the same memory every step";
    EXPECT_EQ(arena.reserved_bytes(), reserved) << "nothing new is allocated";
  }
  EXPECT_EQ(arena.used_bytes(), 64);
  EXPECT_EQ(arena.peak_bytes(), 64 + 448 + 5632);
  EXPECT_EQ(outer.elements(), 8);
}

}  // namespace
}  // namespace ropewalk
