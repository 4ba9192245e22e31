#include "trainer/model/parameters.h"

#include <gtest/gtest.h>

#include <map>

#include "kernels/make_kernels.h"
#include "tests/support/models.h"
#include "tests/trainer/model/tables.h"
#include "trainer/model/model_flops.h"

namespace ropewalk {
namespace {

// The primary boxes of each parameter, over the ranks of a tensor group, cover every element exactly once.
TEST(ParameterTable, PrimaryReplicasCoverEachElementOnce) {
  for (const int ranks : {1, 2, 4}) {
    const ModelConfig model = model_with_qk_norm();
    std::map<std::string, std::vector<int>> covered;
    for (int rank = 0; rank < ranks; ++rank) {
      const ParameterTable table = table_of(model, ranks, rank);
      for (const Parameter& p : table.all()) {
        auto& counts = covered[p.name];
        counts.resize(static_cast<size_t>(p.shape.elements()));
        if (!p.is_primary_replica) continue;
        for (int64_t row = p.box.row_begin; row < p.box.row_end; ++row)
          for (int64_t column = p.box.column_begin; column < p.box.column_end; ++column)
            ++counts[static_cast<size_t>(row * p.columns() + column)];
      }
    }
    int64_t elements = 0;
    for (const auto& [name, counts] : covered) {
      for (size_t i = 0; i < counts.size(); ++i)
        ASSERT_EQ(counts[i], 1) << name << " element " << i << ", " << ranks << " ranks";
      elements += static_cast<int64_t>(counts.size());
    }
    EXPECT_EQ(elements, parameter_count(model));
  }
}

// Units: the embedding, and each block, the last one with the final norm.
TEST(ParameterTable, UnitsHoldAllParametersInOrder) {
  const ParameterTable table = table_of(model_with_qk_norm(), 4, 3);
  EXPECT_EQ(table.first_of_unit(ParameterTable::kEmbeddingUnit), table.embedding());
  EXPECT_EQ(table.end_of_unit(ParameterTable::kEmbeddingUnit), table.block(0).norm);
  for (size_t layer = 0; layer < 2; ++layer) {
    const size_t unit = ParameterTable::unit_of_block(layer);
    EXPECT_EQ(table.first_of_unit(unit), table.block(layer).norm);
    EXPECT_EQ(table.end_of_unit(unit), table.block(layer).down + (layer == 1 ? 2 : 1));
  }
  EXPECT_EQ(table.final_norm(), table.block(1).down + 1);
  EXPECT_EQ(table.shards().buckets().size(), 3u);
}

TEST(ParameterTable, LiesInTheFlatBufferAsTheShardPlanSays) {
  const ParameterTable table = table_of(model_with_qk_norm(), 4, 3);
  for (size_t unit = 0; unit < 3; ++unit) {
    int64_t end = table.shards().buckets()[table.shards().bucket_of(unit)].begin;
    for (int i = table.first_of_unit(unit); i < table.end_of_unit(unit); ++i) {
      EXPECT_EQ(table[i].offset, end) << table[i].name;
      end += table[i].box.elements();
    }
  }
}

TEST(ParameterValues, ArePaddedWithZeros) {
  const auto kernels = make_kernels(BackendKind::kReferenceF64);
  const ParameterTable table = table_of(model_with_qk_norm(), 4, 3);
  const ParameterValues values(table, DType::kF64, *kernels);
  int64_t padding = 0;
  for (const ShardBucket& bucket : table.shards().buckets()) {
    std::vector<double> tail(static_cast<size_t>(bucket.end - bucket.filled_end), 1.0);
    kernels->download(values.flat().slice(bucket.filled_end, bucket.end), tail.data());
    for (const double value : tail) EXPECT_EQ(value, 0.0);
    padding += static_cast<int64_t>(tail.size());
  }
  EXPECT_GT(padding, 0);
}

TEST(ParameterTable, RanksBeyondTheKeyHeadsShareThem) {
  const ModelConfig model = model_with_qk_norm();  // 4 query heads, 2 KV heads of size 4
  for (int rank = 0; rank < 4; ++rank) {
    const ParameterTable table = table_of(model, 4, rank);
    const Parameter& k = table[table.block(0).k];
    EXPECT_EQ(k.box, (Box{rank / 2 * 4, rank / 2 * 4 + 4, 0, model.width}));
    EXPECT_EQ(k.gradient_sum, GradientSum::kKeyReplicas);
    EXPECT_EQ(k.is_primary_replica, rank % 2 == 0);
    EXPECT_EQ(table[table.block(0).q].box.row_begin, rank * 4);
  }
}

TEST(ParameterTable, NormsAreSummedOverTokensOnlyWhereTokensAreSplit) {
  const ModelConfig model = model_with_qk_norm();
  const ParameterTable split = table_of(model, 2, 1, true), whole = table_of(model, 2, 1, false);
  EXPECT_EQ(split[split.final_norm()].gradient_sum, GradientSum::kTensor);
  EXPECT_EQ(whole[whole.final_norm()].gradient_sum, GradientSum::kNone);
  EXPECT_EQ(split[split.block(1).q_norm].gradient_sum,
            GradientSum::kNone);  // split by head: each rank sees every token
}

TEST(ParameterTable, NamesAreHuggingFaces) {
  const ParameterTable table = table_of(model_with_qk_norm(), 1, 0);
  EXPECT_EQ(table[0].name, "model.embed_tokens.weight");
  EXPECT_EQ(table[table.block(1).q_norm].name, "model.layers.1.self_attn.q_norm.weight");
  EXPECT_EQ(table[table.block(0).down].name, "model.layers.0.mlp.down_proj.weight");
  EXPECT_EQ(table.block(0).q_norm, -1);
  EXPECT_EQ(table[table.final_norm()].name, "model.norm.weight");
}

}  // namespace
}  // namespace ropewalk
