// The emulated device's products of warpgroups. Correct code gives correct results in every random order, and planted
// mistakes are detected.
#include "tests/kernels/cuda/hopper/emulated.h"

namespace ropewalk::cuda_emulated {
namespace {

constexpr int kRows = 64, kInner = 64, kTile = kRows * kPanel;

enum class Fault {
  kNone,
  kNoFence,
  kNoFenceAfterWait,
  kNoCommit,
  kNoWait,
  kWaitForOlder,
  kOverwriteRight,
  kOverwriteLeft,
  kTouchSums,
  kThreadsDiffer,
  kBits  // wrong bits in the right operand's descriptor
};

// c [64, N] = 2 a [64, 64] b [64, N]: the product is computed twice, and added the second time.
template <int N, bool kLeftTransposed, bool kRightTransposed, bool kLeftInRegisters = false>
struct Products {
  static constexpr int64_t kShared = (1 + N / 64) * kTile * int64_t{sizeof(Bf16)} + 1024;

  Fault fault = Fault::kNone;
  uint64_t bits = 0;  // with Fault::kBits
  std::vector<Bf16> a = small_integers(kRows * kInner, 1), b = small_integers(kInner * N, 4);
  std::vector<float> c = std::vector<float>(kRows * N, NAN);

  float left(int row, int k) const {
    return widen(a[static_cast<size_t>(kLeftTransposed ? k * kRows + row : row * kInner + k)]);
  }
  float right(int k, int column) const {
    return widen(b[static_cast<size_t>(kRightTransposed ? k * N + column : column * kInner + k)]);
  }

  void operator()() {
    auto* a_tile = shared_memory<Bf16>();
    Bf16* b_tile = a_tile + kTile;
    auto* barrier = reinterpret_cast<Barrier*>(b_tile + N / 64 * kTile);
    if (thread() == 0) {
      init(barrier, 1);
      publish_barriers();
      arrive_expecting(barrier, (1 + N / 64) * kTile * sizeof(Bf16));
      copy_tile_async(a_tile, tensor_map(a.data(), {64, 64, 1}, {64, kTile}, {64, 64, 1}), barrier, {0, 0, 0});
      const TensorMap map = kRightTransposed ? tensor_map(b.data(), {N, 64, 1}, {N, 64 * N}, {64, 64, 1})
                                             : tensor_map(b.data(), {64, N, 1}, {64, 64 * N}, {64, 64, 1});
      for (int panel = 0; panel < N / 64; ++panel)
        copy_tile_async(b_tile + panel * kTile, map, barrier,
                        {kRightTransposed ? panel * 64 : 0, kRightTransposed ? 0 : panel * 64, 0});
    }
    __syncthreads();
    wait(barrier, 0);
    multiply(a_tile, b_tile);
  }

  void multiply(Bf16* a_tile, Bf16* b_tile) {
    const int row = thread() / 32 * 16 + lane() / 4;
    uint32_t registers[kInner / 16][4];
    for (int step = 0; step < kInner / 16; ++step)
      for (int part = 0; part < 4; ++part) {
        const int r = row + part % 2 * 8, k = step * 16 + part / 2 * 8 + lane() % 4 * 2;
        registers[step][part] = bf16_pair(left(r, k), left(r, k + 1));
      }
    const Operand left_side = kLeftTransposed ? columns_operand(a_tile, 0) : rows_operand(a_tile);
    Operand right_side = kRightTransposed ? columns_operand(b_tile, kTile * int{sizeof(Bf16)}) : rows_operand(b_tile);
    if (fault == Fault::kBits) right_side.bits ^= bits;
    if (fault == Fault::kThreadsDiffer && thread() == 77) right_side.bits += 2;

    float sums[N / 8][4];
    if (fault != Fault::kNoFence) fence_operands();
    for (int time = 0; time < 2; ++time) {
      for (int step = 0; step < kInner / 16; ++step) {
        const Operand b_step = advanced(right_side, step * (kRightTransposed ? 2048 : 32));
        const bool add = time > 0 || step > 0;
        if constexpr (kLeftInRegisters)
          multiply_async<N, kRightTransposed>(sums, registers[step], b_step, add);
        else
          multiply_async<N, kLeftTransposed, kRightTransposed>(
              sums, advanced(left_side, step * (kLeftTransposed ? 2048 : 32)), b_step, add);
      }
      if (fault != Fault::kNoCommit) commit_products();
      if (fault == Fault::kTouchSums && thread() == 5) sums[1][1] = 0;
      if (fault == Fault::kOverwriteLeft) registers[3][2] = 0;
      if (fault == Fault::kOverwriteRight) {
        b_tile[thread()] = {};
        fence_shared_writes();
      }
      if (time == 0 || fault == Fault::kWaitForOlder)
        wait_products<1>();  // not for the newest group
      else if (fault != Fault::kNoWait)
        wait_products<0>();
      if (time == 0 && fault != Fault::kNoFenceAfterWait) fence_operands();
    }
    for (int part = 0; part < N / 8; ++part)
      for (int i = 0; i < 4; ++i)
        c[static_cast<size_t>((row + i / 2 * 8) * N + part * 8 + lane() % 4 * 2 + i % 2)] = sums[part][i];
  }

  bool is_right() const {
    for (int row = 0; row < kRows; ++row)
      for (int column = 0; column < N; ++column) {
        float sum = 0;
        for (int k = 0; k < kInner; ++k) sum += 2 * left(row, k) * right(k, column);
        if (c[static_cast<size_t>(row * N + column)] != sum) return false;
      }
    return true;
  }
};

template <typename P>
int times_right_with(Fault fault, uint64_t bits = 0) {
  return times_right([=] {
    P products{fault, bits};
    return failure_of(kWarpgroup, P::kShared, [&] { products(); }).empty() && products.is_right();
  });
}
template <typename P>
void expect_failure_with(const std::string& why, Fault fault, uint64_t bits = 0) {
  P products{fault, bits};
  expect_failure(why, kWarpgroup, P::kShared, [&] { products(); });
}

using Rows = Products<64, false, false>;
using Columns = Products<128, true, true>;
using InRegisters = Products<128, false, true, true>;

TEST(HopperProducts, OfOperandsInEveryLayout) {
  EXPECT_EQ(times_right_with<Rows>(Fault::kNone), kRuns);
  EXPECT_EQ(times_right_with<Columns>(Fault::kNone), kRuns);
  EXPECT_EQ(times_right_with<InRegisters>(Fault::kNone), kRuns);
  EXPECT_EQ((times_right_with<Products<128, false, false>>(Fault::kNone)), kRuns);
  EXPECT_EQ((times_right_with<Products<64, true, false>>(Fault::kNone)), kRuns);
  EXPECT_EQ((times_right_with<Products<64, false, false, true>>(Fault::kNone)), kRuns);
}

TEST(HopperProducts, NoticeWrongDescriptors) {
  const uint64_t start = 1, leading = uint64_t{1} << 20, stride = uint64_t{1} << 36, mode = uint64_t{3} << 62,
                 base = uint64_t{1} << 49, reserved = uint64_t{1} << 55;
  EXPECT_EQ(times_right_with<Rows>(Fault::kBits, start), 0);
  EXPECT_EQ(times_right_with<Rows>(Fault::kBits, stride), 0);
  EXPECT_EQ(times_right_with<Rows>(Fault::kBits, leading), kRuns) << "swizzled K-major operands have no leading offset";
  EXPECT_EQ(times_right_with<Columns>(Fault::kBits, start << 6), 0);
  EXPECT_EQ(times_right_with<Columns>(Fault::kBits, leading), 0);
  EXPECT_EQ(times_right_with<Columns>(Fault::kBits, stride), 0);
  expect_failure_with<Columns>("a multiple of 1024", Fault::kBits, start << 3);
  expect_failure_with<Columns>("leaves its rows", Fault::kBits, start << 1);
  expect_failure_with<Rows>("a multiple of 1024", Fault::kBits, base);
  expect_failure_with<Rows>("without the swizzle", Fault::kBits, mode);
  expect_failure_with<Rows>("without the swizzle", Fault::kBits, reserved);
  expect_failure_with<Columns>("not in the block's shared memory", Fault::kBits, start << 13);
  expect_failure_with<Rows>("ask for different products", Fault::kThreadsDiffer);
}

TEST(HopperProducts, NoticeWhatIsNotWaitedFor) {
  expect_failure_with<Rows>("without a fence", Fault::kNoFence);
  expect_failure_with<InRegisters>("without a fence", Fault::kNoFenceAfterWait);
  EXPECT_EQ(times_right_with<Rows>(Fault::kNoFenceAfterWait), kRuns) << "the same accumulators continue";
  expect_failure_with<Rows>("under way", Fault::kNoCommit);
  expect_failure_with<Rows>("under way", Fault::kNoWait);
  expect_failure_with<Rows>("under way", Fault::kWaitForOlder);
  expect_failure_with<Rows>("sums were touched", Fault::kTouchSums);
}

// Operands are read at once or later, at random.
TEST(HopperProducts, NoticeOperandsThatAreOverwritten) {
  EXPECT_LT(times_right_with<Rows>(Fault::kOverwriteRight), kRuns / 2);
  EXPECT_LT(times_right_with<InRegisters>(Fault::kOverwriteLeft), kRuns);
  EXPECT_EQ(times_right_with<Columns>(Fault::kOverwriteLeft), kRuns) << "its left operand is not in registers";
}

TEST(HopperProducts, AreOfWholeWarpgroups) {
  expect_failure("whole warpgroup", 64, 1024, [] { fence_operands(); });
}

}  // namespace
}  // namespace ropewalk::cuda_emulated
