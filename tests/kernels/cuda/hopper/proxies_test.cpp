// What threads store into shared memory, and products and bulk sums that read it on the emulated device.
#include "tests/kernels/cuda/hopper/emulated.h"

namespace ropewalk::cuda_emulated {
namespace {

enum class Fault { kNone, kNoFence, kFenceBefore, kOneFences, kNoBarrier };

// Threads store, fence and meet.
template <typename Store>
void publish(Fault fault, const Store& store) {
  if (fault == Fault::kFenceBefore) fence_shared_writes();
  store();
  if (fault == Fault::kNone || fault == Fault::kNoBarrier || (fault == Fault::kOneFences && thread() % 128 == 0))
    fence_shared_writes();
  if (fault != Fault::kNoBarrier) __syncthreads();
}

// a [64, 64] is stored by the threads of two warpgroups, one of which multiplies it by itself.
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
  EXPECT_EQ(times_right([] { return square_is_right(Fault::kOneFences); }), 0);
  EXPECT_LT(times_right([] { return square_is_right(Fault::kNoBarrier); }), kRuns);
}

enum class SumFault { kNone, kStore, kNoCommit, kNoWait, kWaitForOlder, kOverwriteBeforeRead, kReadTooEarly };

// Each warp adds its 64 numbers to the same place in turns, from one of two buffers.
struct Turns {
  static constexpr int kTurns = 6, kWarps = 2, kNumbers = 64;

  Fault fault = Fault::kNone;
  SumFault sum_fault = SumFault::kNone;
  std::vector<float> sums = std::vector<float>(kNumbers, 1.0f);
  bool read_late = true;  // what was waited for was there

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
      add_bulk(sums.data(), buffer, kNumbers * sizeof(float));
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

// wait_bulk_read<>() does not say that sums are there, wait_bulk<>() does.
TEST(HopperBulkSums, AreThereWhenWaitedFor) {
  const auto is_there = [](bool whole) {
    float sums[4] = {};
    bool there = false;
    EXPECT_EQ(failure_of(kWarp, 64,
                         [&] {
                           if (thread() > 0) return;
                           auto* ones = shared_memory<float>();
                           for (int i = 0; i < 4; ++i) ones[i] = 1;
                           fence_shared_writes();
                           add_bulk(sums, ones, sizeof(sums));
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

TEST(HopperBulkSums, AreAligned) {
  const auto add = [](int to, int from, uint32_t bytes) {
    return [=] {
      alignas(16) static float sums[8];
      if (thread() == 0) add_bulk(sums + to, shared_memory<float>() + from, bytes);
    };
  };
  expect_failure("are not aligned", kWarp, 64, add(1, 0, 16));
  expect_failure("a multiple of 16 bytes", kWarp, 64, add(0, 1, 16));
  expect_failure("a sum of 8 bytes", kWarp, 64, add(0, 0, 8));
  expect_failure("not in the block's shared memory", kWarp, 64, add(0, 12, 32));
}

}  // namespace
}  // namespace ropewalk::cuda_emulated
