// The bytes that leave each rank equal the formulas of ring_attention.cpp and halo_attention.cpp.
#include <gtest/gtest.h>

#include "kernels/make_kernels.h"
#include "parallel/attention/halo_plan.h"
#include "tests/parallel/attention/attention_case.h"
#include "tests/parallel/attention/plan_support.h"
#include "tests/support/ranks.h"

namespace ropewalk {
namespace {

constexpr int64_t kBytes = 8;  // of an fp64 value, which is also its accumulator

struct Sent {
  int64_t forward, backward;
};

std::vector<Sent> bytes_sent(const AttentionCase& problem, int ranks) {
  std::vector<Sent> sent(static_cast<size_t>(ranks));
  run_ranks(ranks, [&](const std::shared_ptr<Communicator>& world) {
    const std::unique_ptr<Kernels> kernels = make_kernels(BackendKind::kReferenceF64);
    RankAttention rank(problem, *kernels, *world);
    const int64_t before = world->bytes_sent();
    rank.forward();
    const int64_t between = world->bytes_sent();
    rank.backward();
    sent[static_cast<size_t>(world->rank())] = {between - before, world->bytes_sent() - between};
  });
  return sent;
}

// Number of elements in one row of keys and values.
int64_t row_values(const AttentionCase& problem) { return 2 * problem.key_heads * problem.head_size; }

TEST(BytesSent, HaloEqualsThePlan) {
  const int64_t length = 61;
  for (int ranks : {1, 2, 3, 5, 8}) {
    for (int64_t window : {1, 4, 9, 30}) {
      const AttentionCase problem{
          2, length, 4, 2, 4, window, {documents_from_bits(length, 0), documents_from_bits(length, 0x100040000)}, 3};
      const std::vector<Sent> sent = bytes_sent(problem, ranks);
      for (int rank = 0; rank < ranks; ++rank) {
        int64_t sent_rows = 0, received_rows = 0;
        for (const std::vector<int32_t>& documents : problem.documents) {
          const HaloPlan plan = make_halo_plan(SequenceLayout(length, ranks), rank, window, documents);
          sent_rows += plan.sent_rows();
          for (const HaloRange& range : plan.receives) received_rows += range.size();
        }
        const Sent& mine = sent[static_cast<size_t>(rank)];
        EXPECT_EQ(mine.forward, sent_rows * row_values(problem) * kBytes);
        EXPECT_EQ(mine.backward, (sent_rows + received_rows) * row_values(problem) * kBytes);
      }
    }
  }
}

TEST(BytesSent, HaloDoesNotDependOnTheLength) {
  const int ranks = 4;
  const int64_t window = 6;
  for (int64_t length : {48, 101, 400}) {
    const AttentionCase problem{1, length, 2, 1, 4, window, {}, 3};
    int64_t forward = 0, backward = 0;
    for (const Sent& of_rank : bytes_sent(problem, ranks)) {
      forward += of_rank.forward;
      backward += of_rank.backward;
    }
    EXPECT_EQ(forward, (2 * ranks - 2) * (window - 1) * row_values(problem) * kBytes) << length;
    EXPECT_EQ(backward, 2 * forward);
  }
}

TEST(BytesSent, RingSendsEveryBlockOnceAround) {
  for (int ranks : {1, 2, 3, 5, 8}) {
    for (int64_t length : {61, 8 * 3 * 5 * 2}) {
      const AttentionCase problem{2, length, 4, 2, 4, std::nullopt, {}, 3};
      const SequenceLayout layout(length, ranks);
      const std::vector<Sent> sent = bytes_sent(problem, ranks);
      for (int rank = 0; rank < ranks; ++rank) {
        const auto all_but = [&](int left_out) {
          return ranks == 1
                     ? 0
                     : (length - layout.local_length(left_out)) * problem.sequences * row_values(problem) * kBytes;
        };
        const Sent& mine = sent[static_cast<size_t>(rank)];
        EXPECT_EQ(mine.forward, all_but((rank + 1) % ranks));  // the block of the next rank is not sent to it
        EXPECT_EQ(mine.backward,
                  all_but((rank + 1) % ranks) + all_but(rank));  // nor are the gradients of its own block
        if (length % (2 * ranks) == 0) {
          EXPECT_EQ(mine.forward * ranks, (ranks - 1) * length * problem.sequences * row_values(problem) * kBytes);
          EXPECT_EQ(mine.backward, 2 * mine.forward);
        }
      }
    }
  }
}

}  // namespace
}  // namespace ropewalk
