// The peak of the processor's matrix unit.
#include "kernels/cpu/matrix_unit.h"
#include "tests/benchmark/measure.h"

#if defined(__x86_64__)
#include <hwy/base.h>
#include <immintrin.h>

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")
namespace ropewalk::benchmark {
namespace {

// Four sums and four loads from the first cache for four multiplications: no product needs fewer loads, as there are
// eight tile registers. Where a core has no neighbour, the loads cost nothing; beside a busy hyperthread they can take
// longer than the multiplications. The operands are random: the unit is slower on these than on zeros.
void multiply_tiles(long rounds) {
  alignas(64) uint8_t configuration[64] = {1};
  for (int tile = 0; tile < 8; ++tile) configuration[16 + 2 * tile] = 64, configuration[48 + tile] = 16;
  __asm__ volatile("ldtilecfg %0" ::"m"(configuration));
  alignas(64) uint16_t operands[4 * 512];
  uint32_t state = 1;
  for (uint16_t& x : operands) {
    state = state * 1664525 + 1013904223;
    x = static_cast<uint16_t>(0x3f00 | (state >> 24) | (state >> 8 & 0x8000));  // between 0.5 and 2, of either sign
  }
  __asm__ volatile("tilezero %tmm0\n tilezero %tmm1\n tilezero %tmm2\n tilezero %tmm3");
  for (long round = 0; round < rounds; ++round)
    __asm__ volatile(
        "tileloadd (%0,%1,1), %%tmm4\n tileloadd 1024(%0,%1,1), %%tmm6\n tileloadd 2048(%0,%1,1), %%tmm7\n"
        "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n tdpbf16ps %%tmm7, %%tmm4, %%tmm1\n"
        "tileloadd 3072(%0,%1,1), %%tmm5\n"
        "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n tdpbf16ps %%tmm7, %%tmm5, %%tmm3" ::"r"(operands),
        "r"(int64_t{64})
        : "memory");
  __asm__ volatile("tilerelease");
}

void multiply_dot_products(long rounds) {
  __asm__ volatile("vpbroadcastd %0, %%zmm30\n vpbroadcastd %0, %%zmm31" ::"r"(0x3f803f00) : "xmm30", "xmm31");
  for (long round = 0; round < rounds; ++round)
    __asm__ volatile(
        "vdpbf16ps %%zmm30, %%zmm31, %%zmm16\n vdpbf16ps %%zmm30, %%zmm31, %%zmm17\n"
        "vdpbf16ps %%zmm30, %%zmm31, %%zmm18\n vdpbf16ps %%zmm30, %%zmm31, %%zmm19\n"
        "vdpbf16ps %%zmm30, %%zmm31, %%zmm20\n vdpbf16ps %%zmm30, %%zmm31, %%zmm21\n"
        "vdpbf16ps %%zmm30, %%zmm31, %%zmm22\n vdpbf16ps %%zmm30, %%zmm31, %%zmm23\n"
        "vdpbf16ps %%zmm30, %%zmm31, %%zmm24\n vdpbf16ps %%zmm30, %%zmm31, %%zmm25\n"
        "vdpbf16ps %%zmm30, %%zmm31, %%zmm26\n vdpbf16ps %%zmm30, %%zmm31, %%zmm27" ::
            : "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26",
              "xmm27");
}

}  // namespace
}  // namespace ropewalk::benchmark
HWY_POP_ATTRIBUTES
#endif

namespace ropewalk::benchmark {

Yardstick bf16_peak() {
#if defined(__x86_64__)
  constexpr long kRounds = 1'000'000;
  switch (matrix_units().best()) {
    case MatrixUnit::kTiles:
      return {"bf16 peak", "GFLOP/s", 4.0 * 2 * 16 * 16 * 32 * kRounds, [] { multiply_tiles(kRounds); }};
    case MatrixUnit::kDotProducts:
      return {"bf16 peak", "GFLOP/s", 12.0 * 64 * 4 * kRounds, [] { multiply_dot_products(4 * kRounds); }};
    case MatrixUnit::kVectors:
      break;
  }
#endif
  Yardstick fma = fma_peak();
  fma.name = "bf16 peak";
  return fma;
}

}  // namespace ropewalk::benchmark
