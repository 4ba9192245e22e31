// Calls of attention, for the suites of every backend in mixed precision.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernels/positions.h"
#include "tests/kernels/mixed_precision/suite.h"

namespace ropewalk {

struct KeyPiece {
  Positions keys;
  int64_t rows;
};

// The forward over each piece of keys, then the backward over each.
struct AttentionCase {
  const char* name;
  int64_t H, G, K;
  Positions queries;
  int64_t T;
  std::vector<KeyPiece> pieces;
  std::optional<int64_t> window;
  std::vector<int32_t> documents;  // positions where they begin; empty: a single document
  double before = 0.1;             // scale of the gradients to which those of this call are added
  double q_scale = 1;              // if large, some scores dominate, in later tiles too
  double unseen = NAN;             // o before the first call
};

// Every kind of mask, at once and in pieces of keys, as context parallelism (ring, halo) produces: those within the
// limits of the backend under test.
std::vector<AttentionCase> attention_cases();
std::string name_of_attention_case(const testing::TestParamInfo<std::tuple<std::string, AttentionCase>>& test);

void attend(const AttentionCase& c, Kernels& kernels, Operands& x);
std::vector<std::string> results_of(const AttentionCase& c);

using Tensors = std::map<std::string, std::vector<double>>;
// Causal attention of T tokens over keys in `pieces` equal pieces, the last one first, as in a ring.
Tensors causal_attention(Kernels& kernels, int64_t pieces, int64_t T = 256);

}  // namespace ropewalk
