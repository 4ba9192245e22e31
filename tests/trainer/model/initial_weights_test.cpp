#include "trainer/model/initial_weights.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/bfloat16.h"
#include "kernels/make_kernels.h"
#include "kernels/random.h"
#include "tests/support/models.h"
#include "tests/trainer/model/tables.h"

namespace ropewalk {
namespace {

TEST(InitialWeights, IsAFunctionOfSeedNameAndPlaceOnly) {
  const ModelConfig model = model_with_qk_norm();
  const auto kernels = make_kernels(BackendKind::kReferenceF64);
  const auto draw = [&](const ParameterTable& table, uint64_t seed) {
    ParameterValues values(table, DType::kF64, *kernels);
    draw_initial_weights(values.state(), table, model, seed, *kernels);
    std::vector<double> host(static_cast<size_t>(values.flat().elements()));
    kernels->download(values.flat(), host.data());
    return host;
  };
  const ParameterTable whole = table_of(model, 1, 0);
  const std::vector<double> all = draw(whole, 7);
  for (int rank = 0; rank < 4; ++rank) {
    const ParameterTable part = table_of(model, 4, rank);
    const std::vector<double> mine = draw(part, 7);
    for (size_t i = 0; i < part.all().size(); ++i) {
      const Parameter &p = part.all()[i], &w = whole.all()[i];
      for (int64_t e = 0; e < p.box.elements(); ++e) {
        const int64_t row = p.box.row_begin + e / p.box.columns(), column = p.box.column_begin + e % p.box.columns();
        ASSERT_EQ(mine[static_cast<size_t>(p.offset + e)],
                  all[static_cast<size_t>(w.offset + row * w.columns() + column)])
            << p.name;
      }
    }
  }
  EXPECT_EQ(all, draw(whole, 7));
  EXPECT_NE(all, draw(whole, 8));
}

TEST(InitialWeights, HasTheRightSpread) {
  ModelConfig model = small_model({full_nope()});
  model.vocabulary = 4000;
  model.initializer_range = 0.02;
  const auto kernels = make_kernels(BackendKind::kReferenceF64);
  const ParameterTable table = table_of(model, 1, 0);
  ParameterValues values(table, DType::kF64, *kernels);
  draw_initial_weights(values.state(), table, model, 1, *kernels);
  const Tensor embedding = values[table.embedding()];
  const double n = static_cast<double>(embedding.elements());  // 64000
  // The variance of n normal draws has a relative standard deviation of sqrt(2 / n) = 0.56 %, the mean one of sigma /
  // sqrt(n): five of each.
  EXPECT_NEAR(kernels->sum_of_squares(embedding) / n / (0.02 * 0.02), 1.0, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(kernels->sum(embedding) / n, 0.0, 5 * 0.02 / std::sqrt(n));
  EXPECT_EQ(kernels->sum(values[table.final_norm()]), static_cast<double>(model.width));
}

// More elements than are drawn at a time, on several threads if there are cores; and a box that begins and ends inside
// rows of the tensor.
TEST(InitialWeights, AreThoseOfTheStreamWhereverTheBoxIs) {
  ModelConfig model = small_model({full_nope()});
  model.vocabulary = 100'000;
  const ParameterTable table = table_of(model, 1, 0);
  const Parameter& embedding = table[table.embedding()];
  const auto kernels = make_kernels(BackendKind::kReferenceF32);
  const Box box{17, 99'000, 3, model.width - 2};
  ASSERT_GT(box.elements(), 1 << 20);
  std::vector<float> host(static_cast<size_t>(box.elements()));
  const Tensor data(host.data(), DType::kF32, Device{}, {box.elements()});
  draw_initial_weights(std::vector<StateTensor>{{embedding.name, embedding.shape, box, data, true}}, table, model, 5,
                       *kernels);
  const RandomStream stream(5, embedding.name);
  for (int64_t i = 0; i < box.elements(); i += 977) {
    const int64_t row = box.row_begin + i / box.columns(), column = box.column_begin + i % box.columns();
    const double normal = stream.normal(static_cast<uint64_t>(row * model.width + column));
    ASSERT_EQ(host[static_cast<size_t>(i)], static_cast<float>(model.initializer_range * normal)) << i;
  }
}

// Master weights start equal to the weights in the compute type.
TEST(InitialWeights, AreRoundedToTheTypeInUse) {
  const ModelConfig model = model_with_qk_norm();
  const ParameterTable table = table_of(model, 1, 0);
  const auto draw = [&](BackendKind backend) {
    const auto kernels = make_kernels(backend);
    ParameterValues values(table, DType::kF32, *kernels);
    draw_initial_weights(values.state(), table, model, 3, *kernels);
    std::vector<float> host(static_cast<size_t>(table[table.embedding()].box.elements()));
    kernels->download(values[table.embedding()], host.data());
    return host;
  };
  const std::vector<float> exact = draw(BackendKind::kReferenceF32), rounded = draw(BackendKind::kReferenceBF16);
  EXPECT_NE(exact, rounded);
  for (size_t i = 0; i < exact.size(); ++i) EXPECT_EQ(rounded[i], static_cast<float>(BFloat16(exact[i]))) << i;
}

}  // namespace
}  // namespace ropewalk
