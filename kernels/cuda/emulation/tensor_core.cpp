// The instructions of tensor_core.h.
#include <cstring>

#include "kernels/cuda/emulation/block.h"

namespace ropewalk::simt {
namespace {

float of_pair(uint32_t pair, int which) { return std::bit_cast<float>(which ? pair & 0xffff0000u : pair << 16); }

void arrive(const Copy& copy) {
  if (copy.from)
    std::memcpy(copy.to, copy.from, kCopyBytes);
  else
    std::memset(copy.to, 0, kCopyBytes);
}

}  // namespace

void multiply_add(float (&c)[4], const uint32_t (&a_and_b)[6]) {
  struct Lane {
    float (&c)[4];
    const uint32_t (&a_and_b)[6];
    bool served = false;
  } mine{c, a_and_b};
  running->with_warp(mine, [](const std::array<Lane*, kWarp>& lanes) {
    float a[16][16], b[16][8], sums[16][8];  // a: row, k; b: k, column
    for (unsigned l = 0; l < kWarp; ++l) {
      const Lane& lane = *lanes[l];
      const unsigned outer = l / 4, inner = l % 4 * 2;
      for (unsigned i = 0; i < 2; ++i) {
        for (unsigned part = 0; part < 4; ++part)
          a[outer + part % 2 * 8][inner + part / 2 * 8 + i] = of_pair(lane.a_and_b[part], i);
        for (unsigned part = 0; part < 2; ++part) b[inner + part * 8 + i][outer] = of_pair(lane.a_and_b[4 + part], i);
        for (unsigned part = 0; part < 2; ++part) sums[outer + part * 8][inner + i] = lane.c[part * 2 + i];
      }
    }
    for (auto& row : sums)
      for (unsigned k = 0; k < 16; ++k)
        for (unsigned column = 0; column < 8; ++column) row[column] += a[&row - sums][k] * b[k][column];
    for (unsigned l = 0; l < kWarp; ++l)
      for (unsigned i = 0; i < 4; ++i) lanes[l]->c[i] = sums[l / 4 + i / 2 * 8][l % 4 * 2 + i % 2];
  });
}

void load_matrices(uint32_t (&r)[4], const void* row, bool transposed) {
  check_aligned(row, 16);
  struct Lane {
    uint32_t (&r)[4];
    const uint16_t* row;
    bool served = false;
  } mine{r, static_cast<const uint16_t*>(row)};
  running->with_warp(mine, [transposed](const std::array<Lane*, kWarp>& lanes) {
    for (unsigned l = 0; l < kWarp; ++l) {
      const unsigned outer = l / 4, inner = l % 4 * 2;
      for (unsigned matrix = 0; matrix < 4; ++matrix) {
        const auto element = [&](unsigned i, unsigned j) -> uint32_t { return lanes[matrix * 8 + i]->row[j]; };
        lanes[l]->r[matrix] = transposed ? element(inner, outer) | element(inner + 1, outer) << 16
                                         : element(outer, inner) | element(outer, inner + 1) << 16;
      }
    }
  });
}

void copy_async(void* shared, const void* from, bool exists) {
  check_aligned(shared, kCopyBytes);
  check_aligned(from, kCopyBytes);
  const Copy copy{shared, exists ? from : nullptr};
  if (one_in(2))
    arrive(copy);
  else
    running->me().copies.back().push_back(copy);
}

void commit() { running->me().copies.emplace_back(); }

void wait(int newest_groups) {
  auto& copies = running->me().copies;
  while (copies.size() > static_cast<size_t>(newest_groups) + 1) {
    std::for_each(copies.front().begin(), copies.front().end(), arrive);
    copies.pop_front();
  }
}

}  // namespace ropewalk::simt
