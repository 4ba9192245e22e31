#include "kernels/cpu/matrix_unit.h"

#include <fmt/core.h>

#include "kernels/error.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#endif

namespace ropewalk {

const char* name_of(MatrixUnit unit) {
  switch (unit) {
    case MatrixUnit::kVectors:
      return "fp32 vectors";
    case MatrixUnit::kDotProducts:
      return "AVX512-BF16";
    case MatrixUnit::kTiles:
      return "AMX";
  }
  CHECK(false, "matrix unit {}", static_cast<int>(unit));
  return "";
}

namespace {

#if defined(__x86_64__) && defined(__linux__)

struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf) {
  Registers r;
  if (!__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d)) return {};
  return r;
}

bool bit(unsigned word, int index) { return (word >> index & 1u) != 0; }

// The register state that the system saves at a switch of threads (XCR0).
uint64_t saved_state() {
  if (!bit(cpuid(1, 0).c, 27)) return 0;  // OSXSAVE
  uint32_t low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

MatrixUnits find_units() {
  constexpr uint64_t kVectorState = 0xe6, kTileState = 0x60000;  // SSE, AVX, AVX-512; tile configuration and data
  constexpr int kTileData = 18;                                  // the component to which Linux gives permission
  MatrixUnits units;
  const uint64_t saved = saved_state();
  const Registers features = cpuid(7, 0), more = cpuid(7, 1);
  const bool avx512 = (saved & kVectorState) == kVectorState && bit(features.b, 16) && bit(features.b, 17) &&
                      bit(features.b, 30) && bit(features.b, 31);  // F, DQ, BW, VL
  units.dot_products = avx512 && bit(more.a, 5);
  if (!units.dot_products || !bit(features.d, 22) || !bit(features.d, 24)) return units;  // AMX-BF16, AMX-TILE
  if ((saved & kTileState) != kTileState) {
    units.refusal = "the system does not save tile registers";
    return units;
  }
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM, which older headers of Linux lack
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData) != 0)
    units.refusal = fmt::format("the system refuses tile registers to this process: {}", std::strerror(errno));
  else
    units.tiles = true;
  return units;
}

#else
MatrixUnits find_units() { return {}; }
#endif

}  // namespace

const MatrixUnits& matrix_units() {
  static const MatrixUnits units = find_units();
  return units;
}

}  // namespace ropewalk
