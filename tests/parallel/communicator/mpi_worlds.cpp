// The suite under mpirun: every process runs every test, as one rank. The first failure ends the job, because the ranks
// may be in different tests after it.
#include <gtest/gtest.h>

#include <cstdio>

#include "parallel/communicator/mpi_communicator.h"
#include "tests/parallel/communicator/worlds.h"

namespace ropewalk {
namespace {

int job_size = 0;

class EndJobOnFailure : public testing::EmptyTestEventListener {
 public:
  EndJobOnFailure(const MpiSession& session, int rank) : session_(session), rank_(rank) {}
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "rank %d: %s:%d: %s\n", rank_, result.file_name() ? result.file_name() : "?",
                 result.line_number(), result.message());
    session_.abort(1);
  }

 private:
  const MpiSession& session_;
  int rank_;
};

}  // namespace

std::vector<int> world_sizes() { return {job_size}; }

std::vector<int> world_sizes_with_peers() {
  if (job_size == 1) return {};
  return {job_size};
}

bool sums_in_rank_order() { return true; }
bool starts_are_overtaken() { return true; }

void run_world(int, const RankBody& body, std::chrono::milliseconds deadline) { body(make_mpi_world({deadline})); }

}  // namespace ropewalk

int main(int argc, char** argv) {
  using namespace ropewalk;
  const MpiSession session;
  const int rank = [] {
    const auto world = make_mpi_world({std::chrono::seconds(60)});
    job_size = world->size();
    return world->rank();
  }();
  testing::InitGoogleTest(&argc, argv);
  testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
  if (rank != 0) delete listeners.Release(listeners.default_result_printer());
  listeners.Append(new EndJobOnFailure(session, rank));
  return RUN_ALL_TESTS();
}
