// Threads' stores to shared memory, and the products and bulk additions that read them on the emulated device.
#include "tests/kernels/cuda/hopper/emulated.h"

namespace ropewalk::cuda_emulated {
namespace {

enum class Fault { kNone, kNoFence, kFenceBefore, kOneFences, kNoBarrier };

// Threads store, fence and synchronize, with one of the faults.
template <typename Store>
void publish(Fault fault, const Store& store) {
  if (fault == Fault::kFenceBefore) fence_shared_writes();
  store();
  if (fault == Fault::kNone || fault == Fault::kNoBarrier || (fault == Fault::kOneFences && thread() % 128 == 0))
    fence_shared_writes();
  if (fault != Fault::kNoBarrier) __syncthreads();
}

// The threads of two warpgroups store a [64, 64]; one of them multiplies it by itself.
bool square_is_right(Fault fault) {
  const std::vector<Bf16> a = small_integers(64 * 64, 1);
  std::vector<float> c(64 * 64, NAN);
  const std::string failure = failure_of(256, 8192, [&] {
    auto* tile = shared_memory<Bf16>();
    publish(fault, [&] {
      for (int i = thread(); i < 64 * 64; i += 256) tile[in_panel(i / 64, i % 64)] = a[static_cast<size_t>(i)];
    });
    if (thread() >= 128) return;
    float sums[8][4];
    fence_operands();
    for (int k = 0; k < 64; k += 16)
      multiply_async<64, false, true>(sums, advanced(rows_operand(tile), k * 2),
                                      advanced(columns_operand(tile, 8192), k * 128), k > 0);
    commit_products();
    wait_products<0>();
    for (int part = 0; part < 8; ++part)
      for (int i = 0; i < 4; ++i)
        c[static_cast<size_t>((warp() * 16 + lane() / 4 + i / 2 * 8) * 64 + part * 8 + lane() % 4 * 2 + i % 2)] =
            sums[part][i];
  });
  EXPECT_EQ(failure, "");
  for (size_t row = 0; row < 64; ++row)
    for (size_t column = 0; column < 64; ++column) {
      float sum = 0;
      for (size_t k = 0; k < 64; ++k) sum += widen(a[row * 64 + k]) * widen(a[k * 64 + column]);
      if (c[row * 64 + column] != sum) return false;
    }
  return true;
}

TEST(HopperProxies, ProductsSeeWhatIsFenced) {
  EXPECT_EQ(times_right([] { return square_is_right(Fault::kNone); }), kRuns);
  EXPECT_EQ(times_right([] { return square_is_right(Fault::kNoFence); }), 0);
  EXPECT_EQ(times_right([] { return square_is_right(Fault::kFenceBefore); }), 0);
  // Once in 128 runs, one of the two threads that fence is the last to store, so that its fence publishes all stores.
  EXPECT_LE(times_right([] { return square_is_right(Fault::kOneFences); }), 3);
  EXPECT_LT(times_right([] { return square_is_right(Fault::kNoBarrier); }), kRuns);
}

enum class SumFault { kNone, kNoCommit, kNoWait, kWaitForOlder, kOverwriteBeforeRead };

// Each warp adds 256 floats to the same tensor several times, alternating between two buffers.
struct Turns {
  static constexpr int kTurns = 6, kWarps = 2, kNumbers = 256;  // 8 rows

  Fault fault = Fault::kNone;
  SumFault sum_fault = SumFault::kNone;
  std::vector<float> sums = std::vector<float>(kNumbers, 1.0f);
  const TensorMap map = tensor_map(sums.data(), {32, 1, 8}, {32, 32}, {32, 1, 8});

  void operator()() {
    float* buffers = shared_memory<float>() + warp() * 2 * kNumbers;
    for (int turn = 0; turn < kTurns; ++turn) {
      float* buffer = buffers + turn % 2 * kNumbers;
      if (lane() == 0 && sum_fault != SumFault::kOverwriteBeforeRead) wait_bulk_read<1>();
      __syncwarp();
      publish(fault, [&] {
        for (int i = lane(); i < kNumbers; i += kWarp) buffer[i] = static_cast<float>(turn + 10 * warp());
      });
      if (lane() > 0) continue;
      add_tile_async(map, buffer, {0, 0, 0});
      if (sum_fault != SumFault::kNoCommit) commit_bulk();
    }
    if (lane() > 0 || sum_fault == SumFault::kNoWait) return;
    sum_fault == SumFault::kWaitForOlder ? wait_bulk_read<1>() : wait_bulk_read<0>();
  }
  bool is_right() const {
    return std::all_of(sums.begin(), sums.end(), [](float sum) { return sum == 1 + 2 * 15 + kTurns * 10; });
  }
};

int times_right_with(Fault fault, SumFault sum_fault) {
  return times_right([=] {
    Turns turns{fault, sum_fault};
    return failure_of(Turns::kWarps * kWarp, 4096, [&] { turns(); }).empty() && turns.is_right();
  });
}

TEST(HopperBulkSums, AddWhatIsFenced) {
  EXPECT_EQ(times_right_with(Fault::kNone, SumFault::kNone), kRuns);
  EXPECT_EQ(times_right_with(Fault::kNoFence, SumFault::kNone), 0);
  EXPECT_EQ(times_right_with(Fault::kFenceBefore, SumFault::kNone), 0);
  EXPECT_EQ(times_right_with(Fault::kOneFences, SumFault::kNone), 0);
}

TEST(HopperBulkSums, NoticeWhatIsNotWaitedFor) {
  EXPECT_EQ(times_right_with(Fault::kNone, SumFault::kNoCommit), 0);
  EXPECT_LT(times_right_with(Fault::kNone, SumFault::kNoWait), kRuns);
  EXPECT_LT(times_right_with(Fault::kNone, SumFault::kWaitForOlder), kRuns);
  EXPECT_LT(times_right_with(Fault::kNone, SumFault::kOverwriteBeforeRead), kRuns);
}

// After wait_bulk<>() additions are complete; after wait_bulk_read<>() they may not be.
TEST(HopperBulkSums, AreThereWhenWaitedFor) {
  const auto is_there = [](bool whole) {
    alignas(16) float sums[32] = {};
    const TensorMap map = tensor_map(sums, {32, 1, 1}, {32, 32}, {32, 1, 1});
    bool there = false;
    EXPECT_EQ(failure_of(kWarp, 1024,
                         [&] {
                           if (thread() > 0) return;
                           auto* ones = shared_memory<float>();
                           for (int i = 0; i < 32; ++i) ones[i] = 1;
                           fence_shared_writes();
                           add_tile_async(map, ones, {0, 0, 0});
                           commit_bulk();
                           whole ? wait_bulk<0>() : wait_bulk_read<0>();
                           there = sums[3] == 1;
                         }),
              "");
    return there;
  };
  EXPECT_EQ(times_right([&] { return is_there(true); }), kRuns);
  EXPECT_LT(times_right([&] { return is_there(false); }), kRuns);
}

// Boxes at all edges of a tensor [2, 3, 40], whose rows are 48 floats apart: memory outside the tensor is not touched.
// The boxes are swizzled.
TEST(HopperBulkSums, GoWhereTheTensorIs) {
  for (const int column : {-8, 0, 32})
    for (const int middle : {-1, 0, 2})
      for (const int outer : {-2, 0, 1}) {
        alignas(16) float sums[2 * 3 * 48] = {};
        const TensorMap map = tensor_map(sums, {40, 3, 2}, {48, 3 * 48}, {32, 2, 2});
        EXPECT_EQ(failure_of(kWarp, 1024,
                             [&] {
                               if (thread() > 0) return;
                               auto* tile = shared_memory<float>();
                               for (int row = 0; row < 4; ++row)
                                 for (int i = 0; i < 32; ++i)
                                   tile[row * 32 + swizzled_piece(row, i / 4) * 4 + i % 4] =
                                       static_cast<float>(row * 100 + i + 1);
                               fence_shared_writes();
                               add_tile_async(map, tile, {column, middle, outer});
                               commit_bulk();
                               wait_bulk<0>();
                             }),
                  "");
        for (int k = 0; k < 2; ++k)
          for (int j = 0; j < 3; ++j)
            for (int i = 0; i < 48; ++i) {
              const int x = i - column, y = j - middle, z = k - outer;
              const bool met = i < 40 && x >= 0 && x < 32 && y >= 0 && y < 2 && z >= 0 && z < 2;
              EXPECT_EQ(sums[(k * 3 + j) * 48 + i], met ? static_cast<float>((z * 2 + y) * 100 + x + 1) : 0.0f);
            }
      }
}

TEST(HopperBulkSums, AreAligned) {
  alignas(16) static float sums[32];
  const auto add = [](const TensorMap& map, int from) {
    return [=] {
      if (thread() == 0) add_tile_async(map, shared_memory<float>() + from, {0, 0, 0});
    };
  };
  const TensorMap map = tensor_map(sums, {32, 1, 1}, {32, 32}, {32, 1, 1});
  expect_failure("a multiple of 1024 bytes", kWarp, 2048, add(map, 4));
  expect_failure("not in the block's shared memory", kWarp, 1024, add(map, 256));
  const auto* numbers = reinterpret_cast<const Bf16*>(sums);
  expect_failure("not of floats", kWarp, 1024, add(tensor_map(numbers, {64, 1, 1}, {64, 64}, {64, 1, 1}), 0));
}

}  // namespace
}  // namespace ropewalk::cuda_emulated
