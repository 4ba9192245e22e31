// The emulated device's mbarriers, named barriers, register moves and tile copies. Correct code gives correct results
// in every random order, and planted mistakes are detected.
#include "tests/kernels/cuda/hopper/emulated.h"

namespace ropewalk::cuda_emulated {
namespace {

enum class Fault { kNone, kPhase, kFewerBytes, kMoreBytes, kNoBytes, kNoRelease, kEarlyRelease, kNotPublished };

// One warp loads tiles [64, 64] into two stages in turn, another warp sums them.
struct Pipe {
  static constexpr int kTiles = 7, kStages = 2, kTile = 64 * 64;
  static constexpr uint32_t kBytes = kTile * sizeof(Bf16);
  static constexpr int64_t kShared = kStages * kBytes + 2 * kStages * int64_t{sizeof(Barrier)};

  Fault fault = Fault::kNone;
  std::vector<Bf16> numbers = small_integers(kTiles * kTile, 1);
  TensorMap map = tensor_map(numbers.data(), {64, 64, kTiles}, {64, kTile}, {64, 64, 1});
  std::vector<float> sums = std::vector<float>(kTile);

  void operator()() {
    auto* tiles = shared_memory<Bf16>();
    auto* full = reinterpret_cast<Barrier*>(tiles + kStages * kTile);
    Barrier* empty = full + kStages;
    if (thread() == 0) {
      for (int stage = 0; stage < kStages; ++stage) {
        init(full + stage, 1);
        init(empty + stage, kWarp);
      }
      if (fault != Fault::kNotPublished) publish_barriers();
    }
    __syncthreads();
    if (warp() == 1) return consume(tiles, full, empty);
    if (lane() > 0) return;
    const uint32_t bytes = fault == Fault::kFewerBytes  ? kBytes - 16
                           : fault == Fault::kMoreBytes ? kBytes + 16
                           : fault == Fault::kNoBytes   ? 0
                                                        : kBytes;
    for (int i = 0; i < kTiles; ++i) {
      const int stage = i % kStages;
      wait(empty + stage, static_cast<uint32_t>(i / kStages % 2 ^ 1));
      arrive_expecting(full + stage, bytes);
      copy_tile_async(tiles + stage * kTile, map, full + stage, {0, 0, i});
    }
  }
  void consume(const Bf16* tiles, Barrier* full, Barrier* empty) {
    for (int i = 0; i < kTiles; ++i) {
      const int stage = i % kStages;
      wait(full + stage, static_cast<uint32_t>(i / kStages % 2 ^ (fault == Fault::kPhase)));
      if (fault == Fault::kEarlyRelease) arrive(empty + stage);
      for (int row = lane(); row < 64; row += kWarp) {
        __syncwarp();  // lets other warps run
        for (int column = 0; column < 64; ++column)
          sums[static_cast<size_t>(row * 64 + column)] += widen(tiles[stage * kTile + in_panel(row, column)]);
      }
      if (fault != Fault::kNoRelease && fault != Fault::kEarlyRelease) arrive(empty + stage);
    }
  }

  bool is_right() const {
    for (int i = 0; i < kTile; ++i) {
      float sum = 0;
      for (int tile = 0; tile < kTiles; ++tile) sum += widen(numbers[static_cast<size_t>(tile * kTile + i)]);
      if (sums[static_cast<size_t>(i)] != sum) return false;
    }
    return true;
  }
};

int times_right_with(Fault fault) {
  return times_right([fault] {
    Pipe pipe{fault};
    return failure_of(2 * kWarp, Pipe::kShared, [&] { pipe(); }).empty() && pipe.is_right();
  });
}

TEST(HopperBarriers, BringTiles) { EXPECT_EQ(times_right_with(Fault::kNone), kRuns); }

TEST(HopperBarriers, NoticeWrongPhasesAndBytes) {
  for (const Fault fault :
       {Fault::kPhase, Fault::kFewerBytes, Fault::kMoreBytes, Fault::kNoBytes, Fault::kNoRelease, Fault::kNotPublished})
    EXPECT_EQ(times_right_with(fault), 0) << static_cast<int>(fault);
  EXPECT_LT(times_right_with(Fault::kEarlyRelease), kRuns / 2);
}

// A kernel in which one thread uses a barrier of two arrivals.
std::function<void()> with_barrier(const std::function<void(Barrier*)>& use) {
  return [use] {
    auto* barrier = shared_memory<Barrier>();
    if (thread() > 0) return;
    init(barrier, 2);
    publish_barriers();
    use(barrier);
  };
}

TEST(HopperBarriers, CountWhatTheyAreInitialisedFor) {
  EXPECT_EQ(failure_of(kWarp, 64, with_barrier([](Barrier* b) {
                         wait(b, 1);  // the phase before the first one
                         arrive(b);
                         arrive(b);
                         wait(b, 0);
                       })),
            "");
  expect_failure(kDeadlock, kWarp, 64, with_barrier([](Barrier* b) {
                   arrive(b);
                   wait(b, 0);
                 }));
  expect_failure(kDeadlock, kWarp, 64, with_barrier([](Barrier* b) {
                   for (int i = 0; i < 4; ++i) arrive(b);  // two phases: the current one has parity 0 again
                   wait(b, 0);
                 }));
  expect_failure("more than 2 arrive", kWarp, 64, with_barrier([](Barrier* b) {
                   arrive_expecting(b, 16);
                   arrive(b);
                   arrive(b);
                 }));
  expect_failure("than it can count", kWarp, 64, with_barrier([](Barrier* b) { arrive_expecting(b, 1 << 20); }));
  expect_failure("there is no barrier", kWarp, 64, with_barrier([](Barrier* b) { arrive(b + 1); }));
  expect_failure("initialised again", kWarp, 64, with_barrier([](Barrier* b) { init(b, 1); }));
  expect_failure("parity 2", kWarp, 64, with_barrier([](Barrier* b) { wait(b, 2); }));
  expect_failure("have not come", kWarp, 64, with_barrier([](Barrier* b) { arrive_expecting(b, 16); }));
  expect_failure("overwritten", kWarp, 64, with_barrier([](Barrier* b) {
                   b->bits = 0;
                   arrive(b);
                 }));
}

// A box [64, 2, 3] that begins at negative coordinates or extends beyond the end holds the tensor's rows, and zeros
// elsewhere.
TEST(HopperTiles, AreZeroOutsideOfTheirTensor) {
  const int R = 2, heads = 3, tokens = 4, K = 64;
  const std::vector<Bf16> numbers = small_integers(tokens * heads * R * K, 2);
  const TensorMap map = tensor_map(numbers.data(), {K, R, heads, tokens}, {K, R * K, heads * R * K}, {64, R, 1, 3});
  for (const int first : {-1, 0, 3}) {
    std::vector<float> tile(64 * 6, NAN);
    EXPECT_EQ(times_right([&] {
                return failure_of(kWarp, 2048,
                                  [&] {
                                    auto* shared = shared_memory<Bf16>();
                                    auto* barrier = reinterpret_cast<Barrier*>(shared + 64 * 6);
                                    if (thread() == 0) {
                                      init(barrier, 1);
                                      publish_barriers();
                                      arrive_expecting(barrier, 64 * 6 * sizeof(Bf16));
                                      copy_tile_async(shared, map, barrier, {0, 0, 1, first});
                                    }
                                    __syncthreads();
                                    wait(barrier, 0);
                                    for (int i = thread(); i < 64 * 6; i += kWarp)
                                      tile[static_cast<size_t>(i)] = widen(shared[in_panel(i / 64, i % 64)]);
                                  })
                    .empty();
              }),
              kRuns);
    for (int row = 0; row < 6; ++row)
      for (int column = 0; column < 64; ++column) {
        const int t = first + row / R;
        const float expected = t < 0 || t >= tokens
                                   ? 0
                                   : widen(numbers[static_cast<size_t>(((t * heads + 1) * R + row % R) * K + column)]);
        ASSERT_EQ(tile[static_cast<size_t>(row * 64 + column)], expected) << first << ", " << row << ", " << column;
      }
  }
}

TEST(HopperTiles, WantTheirPlaceAndTime) {
  const std::vector<Bf16> numbers = small_integers(64 * 64, 3);
  const TensorMap map = tensor_map(numbers.data(), {64, 64, 1}, {64, 64 * 64}, {64, 64, 1});
  const auto copy_to = [&](int bytes, bool stay) {
    return with_barrier([&map, bytes, stay](Barrier* b) {
      arrive_expecting(b, 8192);
      arrive(b);
      copy_tile_async(reinterpret_cast<unsigned char*>(b) + bytes, map, b, {0, 0, 0});
      if (stay) wait(b, 0);
    });
  };
  EXPECT_EQ(failure_of(kWarp, 9216, copy_to(1024, true)), "");
  expect_failure("not a multiple of 1024", kWarp, 9728, copy_to(1024 + 128, true));
  expect_failure("not in the block's shared memory", kWarp, 9215, copy_to(1024, true));
  expect_failure("overwritten", kWarp, 9216, copy_to(0, true));
  EXPECT_LT(times_right([&] { return failure_of(kWarp, 9216, copy_to(1024, false)).empty(); }), kRuns / 2);
}

TEST(HopperTiles, HaveMapsThatADriverTakes) {
  alignas(16) static Bf16 numbers[64 * 64];
  EXPECT_NO_THROW(tensor_map(numbers, {64, 8}, {64}, {64, 8}));
  EXPECT_THROW(tensor_map(numbers + 1, {64, 8}, {64}, {64, 8}), std::logic_error) << "its place";
  EXPECT_THROW(tensor_map(numbers, {64, 8}, {68}, {64, 8}), std::logic_error) << "strides";
  alignas(16) static float floats[32 * 8];
  EXPECT_THROW(tensor_map(floats, {32, 8}, {int64_t{1} << 38}, {32, 8}), std::logic_error) << "strides in bytes";
  EXPECT_THROW(tensor_map(numbers, {64, 0}, {64}, {64, 8}), std::logic_error) << "extents";
  EXPECT_THROW(tensor_map(numbers, {64, 8}, {64}, {64, 257}), std::logic_error) << "box";
}

// Two warps write and read an integer in turn; a third one takes no part.
TEST(HopperNamedBarriers, AreOfSomeThreads) {
  bool right = true;
  const auto turns = [&right](bool first_syncs, bool second_syncs, int threads) {
    return [=, &right] {
      constexpr int kTurns = 20;
      auto* number = shared_memory<int>();
      if (warp() == 0) {
        for (int i = 0; i < kTurns; ++i) {
          if (lane() == i) *number = i;
          if (first_syncs) sync_threads_of(1, threads);
          sync_threads_of(2, 2 * kWarp);
        }
      } else if (warp() == 1) {
        for (int i = 0; i < kTurns; ++i) {
          if (second_syncs) sync_threads_of(1, 2 * kWarp);
          right = right && *number == i;
          sync_threads_of(2, 2 * kWarp);
        }
      }
    };
  };
  const auto are_right = [&](bool both_sync) {
    right = true;
    return failure_of(3 * kWarp, 64, turns(both_sync, both_sync, 2 * kWarp)).empty() && right;
  };
  EXPECT_EQ(times_right([&] { return are_right(true); }), kRuns);
  EXPECT_EQ(times_right([&] { return are_right(false); }), 0);
  expect_failure(kDeadlock, 3 * kWarp, 64, turns(false, true, 2 * kWarp));
  expect_failure(kDeadlock, 3 * kWarp, 64, turns(true, false, 2 * kWarp));
  expect_failure("is of", 3 * kWarp, 64, turns(true, true, 3 * kWarp));
  expect_failure("a named barrier of 40", 3 * kWarp, 64, turns(true, true, 40));
  expect_failure("no named barrier 0", kWarp, 64, [] { sync_threads_of(0, kWarp); });
}

TEST(HopperRegisters, AreHandedOver) {
  const auto change = [](int lowered, int raised) {
    return [=] { simt::change_registers(thread() < 128 ? lowered : raised, thread() >= 128); };
  };
  EXPECT_EQ(failure_of(384, 0, change(24, 240)), "");
  expect_failure(kDeadlock, 384, 0, change(40, 240));
  expect_failure("registers are raised", 384, 0, change(24, 160));
  expect_failure("registers are lowered", 384, 0, change(176, 240));
  expect_failure("20 registers", 384, 0, change(20, 240));
}

// Blocks wait for blocks of higher index, which must be able to start meanwhile.
TEST(HopperBlocks, WaitForEachOther) {
  int turn = 3;
  const auto in_turn = [&] {
    if (thread() > 0) return;
    simt::wait_for_value(&turn, static_cast<int>(blockIdx.x));
    --turn;
  };
  EXPECT_EQ(failure_of(kWarp, 0, in_turn, 4), "");
  EXPECT_EQ(turn, -1);
  EXPECT_NE(failure_of(kWarp, 0, in_turn, 4).find(kDeadlock), std::string::npos);
}

}  // namespace
}  // namespace ropewalk::cuda_emulated
