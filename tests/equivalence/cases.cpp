#include "tests/equivalence/cases.h"

#include <algorithm>

#include "tests/support/models.h"
#include "tests/support/training.h"

namespace ropewalk {
namespace {

// A case without its mesh.
struct Recipe {
  const char* name;
  std::vector<LayerKind> layers;
  int64_t length;                               // S
  std::vector<std::vector<int64_t>> documents;  // boundaries, for the samples in turn
  int64_t samples, micro_batch;                 // per data rank
  bool sequence_parallel;
  int64_t loss_chunk;
  std::vector<std::vector<int64_t>> targets =
      {};  // the only positions with a target, for the samples in turn; empty: all
};

// S = 26 is cut into 2P chunks of 13 down to 1.6 tokens, so a window of 5 is smaller than, about as large as and larger
// than a chunk.
std::vector<Recipe> recipes() {
  return {
      {"RnopeSwa", {sliding_rope(5), sliding_rope(5), sliding_rope(5), full_nope()}, 26, {{9, 17}, {}}, 2, 1, true, 7},
      {"WholeTokens", {sliding_rope(4, 50), full_nope()}, 23, {{1, 2, 11}}, 1, 1, false, 1024},
      {"QkNorm", {with_qk_norm(full_rope(100)), with_qk_norm(sliding_rope(3))}, 19, {{}, {18}}, 2, 2, true, 16},
      {"QkNormWholeTokens", {with_qk_norm(sliding_rope(6)), with_qk_norm(full_nope())}, 21, {{10}}, 1, 1, false, 5},
      // Fewer tokens than 2P for P = 8, so that some ranks hold nothing; windows of 1, S - 1, S and beyond.
      {"FewTokens",
       {sliding_rope(1), sliding_rope(12), sliding_rope(13), sliding_rope(40), full_rope()},
       13,
       {{4}, {}, {12}},
       3,
       2,
       true,
       1},
      // Documents of one token have no target; a sample without any target is valid.
      {"OneTokenDocuments", {sliding_rope(7), full_nope()}, 9, {{1, 2, 3, 4, 5, 6, 7, 8}, {3, 4}}, 2, 2, true, 1024},
      // Masked targets, unevenly over everything: micro-batches, sequences, data ranks and context ranks without any; a
      // sequence whose only target is at its end; padding that is a document for each token.
      {"MaskedTargets",
       {sliding_rope(5), sliding_rope(30), full_nope()},
       28,
       {{11, 20}, {}, {24, 25, 26, 27}, {3}, {14}, {5, 6}},
       2,
       1,
       true,
       3,
       {{2, 3, 4, 5, 17, 26}, {}, {}, {}, {27}, {7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}}},
  };
}

// Masks the targets at all other positions.
void keep_targets(Sample& sample, const std::vector<int64_t>& positions) {
  for (int64_t i = 0; i < sample.length(); ++i)
    if (std::ranges::find(positions, i) == positions.end()) sample.targets[static_cast<size_t>(i)] = -1;
}

// The query heads are a multiple of the ranks; with 4, 5, 6 and 8 ranks there are fewer KV heads than ranks.
void set_heads(ModelConfig& model, int tensor_parallel) {
  switch (tensor_parallel) {
    case 3:
    case 6:
      model.query_heads = 6, model.key_heads = 3;
      break;
    case 5:
      model.query_heads = 5, model.key_heads = 1;
      break;
    case 7:
      model.query_heads = 7, model.key_heads = 7;
      break;
    default:
      model.query_heads = 8, model.key_heads = 2;
      break;
  }
}

}  // namespace

std::vector<std::string> case_names() {
  std::vector<std::string> names;
  for (const Recipe& recipe : recipes()) names.push_back(recipe.name);
  return names;
}

std::vector<Sample> samples_of_step(const Case& c, int64_t step) {
  for (const Recipe& recipe : recipes()) {
    if (recipe.name != c.name) continue;
    std::vector<Sample> samples;
    for (int64_t i = 0; i < c.config.training.stages[0].batch; ++i) {
      const auto& documents = recipe.documents[static_cast<size_t>(i) % recipe.documents.size()];
      const auto seed = static_cast<uint64_t>(1000 * step + i);
      samples.push_back(random_sample(recipe.length, c.config.model.vocabulary, documents, seed));
      if (!recipe.targets.empty())
        keep_targets(samples.back(), recipe.targets[static_cast<size_t>(i) % recipe.targets.size()]);
    }
    return samples;
  }
  CHECK(false, "no case {}", c.name);
  return {};
}

Case make_case(const std::string& name, const MeshShape& mesh) {
  for (const Recipe& recipe : recipes()) {
    if (recipe.name != name) continue;
    ModelConfig model = small_model(recipe.layers);
    set_heads(model, mesh.tensor_parallel);
    Case c{name, test_config(model, mesh, recipe.length, recipe.samples * mesh.data_parallel), {}};
    c.config.training.stages[0].micro_batch = recipe.micro_batch;
    c.config.training.loss_chunk = recipe.loss_chunk;
    c.config.parallel.sequence_parallel = recipe.sequence_parallel;
    c.samples = samples_of_step(c, 0);
    return c;
  }
  CHECK(false, "no case {}", name);
  return {};
}

Config on_one_rank(Config config) {
  config.parallel.mesh = {};
  return config;
}

}  // namespace ropewalk
