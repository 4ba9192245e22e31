#include "tests/parallel/communicator/worlds.h"
#include "tests/support/ranks.h"

namespace ropewalk {

std::vector<int> world_sizes() { return {1, 2, 3, 4, 5, 8}; }
std::vector<int> world_sizes_with_peers() { return {2, 4}; }

bool sums_in_rank_order() { return true; }
bool starts_are_overtaken() { return true; }

void run_world(int size, const RankBody& body, std::chrono::milliseconds deadline) { run_ranks(size, body, deadline); }

}  // namespace ropewalk
