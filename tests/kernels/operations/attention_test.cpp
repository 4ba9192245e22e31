// The reference's attention, in one piece and in several: the forward against a softmax written out here, the backward
// against derivatives by the complex step.
#include "kernels/operations/attention.h"

#include <gtest/gtest.h>

#include "tests/kernels/values.h"

namespace ropewalk {
namespace {

using Complex = std::complex<double>;

struct Case {
  const char* name;
  int64_t q_begin, T, S, H, G, K;  // queries [q_begin, q_begin + T) of a sequence of S keys
  std::optional<int64_t> window;
  std::vector<int32_t> documents;   // where documents begin; empty: absent
  std::vector<int64_t> key_pieces;  // where pieces of keys begin, in the order of the visits
  std::vector<int64_t> ends;        // where these pieces end
};

const std::vector<Case> kCases = {
    {"causal", 0, 9, 9, 2, 2, 4, {}, {}, {0}, {9}},
    {"grouped", 0, 6, 6, 4, 2, 2, {}, {}, {0}, {6}},
    {"window", 0, 9, 9, 2, 1, 4, 3, {}, {0}, {9}},
    {"window of one", 0, 5, 5, 2, 1, 4, 1, {}, {0}, {5}},
    {"window of all", 0, 5, 5, 1, 1, 2, 5, {}, {0}, {5}},
    {"documents", 0, 9, 9, 2, 2, 2, {}, {0, 2, 7}, {0}, {9}},
    {"documents and window", 0, 9, 9, 2, 2, 2, 4, {0, 2, 7}, {0}, {9}},
    {"offset, pieces backwards", 5, 4, 9, 4, 2, 4, {}, {}, {5, 2, 0}, {9, 5, 2}},
    {"offset, window, pieces", 5, 4, 9, 2, 1, 4, 4, {}, {0, 3, 3, 5}, {3, 3, 5, 9}},
    {"all at once", 6, 5, 11, 6, 3, 4, 5, {0, 4, 8}, {8, 0, 4}, {11, 4, 8}},
};

std::vector<int32_t> document_begins(const Case& c) {
  std::vector<int32_t> begins;
  for (int64_t i = c.q_begin; i < c.q_begin + c.T && !c.documents.empty(); ++i) {
    int32_t begin = 0;
    for (int32_t document : c.documents)
      if (document <= i) begin = document;
    begins.push_back(begin);
  }
  return begins;
}

template <typename S>
struct Result {
  std::vector<S> o, lse;
};

template <typename F>
void for_each_piece(const Case& c, F&& f) {
  const std::vector<int32_t> begins = document_begins(c);
  for (size_t i = 0; i < c.key_pieces.size(); ++i) {
    const int64_t U = c.ends[i] - c.key_pieces[i], at = c.key_pieces[i] * c.G * c.K;
    const AttentionSizes s{c.T, U, c.H, c.G, c.K};
    f(s, AttentionMask(U, c.q_begin, c.key_pieces[i], c.window, begins.empty() ? nullptr : begins.data()), at);
  }
}

template <typename S>
Result<S> forward(const Case& c, const std::vector<S>& q, const std::vector<S>& k, const std::vector<S>& v) {
  Result<S> r{std::vector<S>(q.size()),
              std::vector<S>(static_cast<size_t>(c.T * c.H), operations::minus_infinity<S>())};
  for_each_piece(c, [&](const AttentionSizes& s, const AttentionMask& mask, int64_t at) {
    operations::attention_forward(s, mask, q.data(), k.data() + at, v.data() + at, r.o.data(), r.lse.data());
  });
  return r;
}

// softmax(mask(q k^T / sqrt(K))) v, from the mask's definition alone.
Result<double> naive(const Case& c, const std::vector<double>& q, const std::vector<double>& k,
                     const std::vector<double>& v) {
  Result<double> r{std::vector<double>(q.size(), 0), std::vector<double>(static_cast<size_t>(c.T * c.H))};
  const auto at = [](const std::vector<double>& x, int64_t i) { return x[static_cast<size_t>(i)]; };
  for (int64_t t = 0; t < c.T; ++t) {
    for (int64_t h = 0; h < c.H; ++h) {
      const int64_t i = c.q_begin + t, g = h / (c.H / c.G);
      const auto visible = [&](int64_t j) {
        bool same_document = true;
        for (int32_t begin : c.documents) same_document = same_document && (begin <= i) == (begin <= j);
        return j <= i && (!c.window || i - j < *c.window) && same_document;
      };
      double total = 0;
      std::vector<double> weight(static_cast<size_t>(c.S), 0);
      for (int64_t j = 0; j < c.S; ++j) {
        if (!visible(j)) continue;
        double score = 0;
        for (int64_t x = 0; x < c.K; ++x) score += at(q, (t * c.H + h) * c.K + x) * at(k, (j * c.G + g) * c.K + x);
        total += weight[static_cast<size_t>(j)] = std::exp(score / std::sqrt(static_cast<double>(c.K)));
      }
      r.lse[static_cast<size_t>(t * c.H + h)] = std::log(total);
      for (int64_t j = 0; j < c.S; ++j)
        for (int64_t x = 0; x < c.K; ++x)
          r.o[static_cast<size_t>((t * c.H + h) * c.K + x)] += at(weight, j) / total * at(v, (j * c.G + g) * c.K + x);
    }
  }
  return r;
}

class ReferenceAttention : public testing::TestWithParam<Case> {
 protected:
  const Case& c = GetParam();
  std::vector<double> q = normal_values(c.T * c.H * c.K, "q"), d_o = normal_values(c.T * c.H * c.K, "d_o");
  std::vector<double> k = normal_values(c.S * c.G * c.K, "k"), v = normal_values(c.S * c.G * c.K, "v");
};

// At most 11 keys and numbers of size 1: some tens of roundings of 1.1e-16 each.
TEST_P(ReferenceAttention, EqualsASoftmaxWrittenOut) {
  const Result<double> got = forward(c, q, k, v), expected = naive(c, q, k, v);
  for (size_t i = 0; i < got.o.size(); ++i) EXPECT_NEAR(got.o[i], expected.o[i], 1e-14);
  for (size_t i = 0; i < got.lse.size(); ++i) EXPECT_NEAR(got.lse[i], expected.lse[i], 1e-14);
}

// The tolerance is that of gradients_test.cpp.
TEST_P(ReferenceAttention, BackwardIsTheDerivative) {
  const Result<double> result = forward(c, q, k, v);
  std::vector<double> delta(result.lse.size()), dq(q.size()), dk(k.size()), dv(v.size());
  operations::attention_delta(c.T * c.H, c.K, d_o.data(), result.o.data(), delta.data());
  for_each_piece(c, [&](const AttentionSizes& s, const AttentionMask& mask, int64_t at) {
    operations::attention_backward(s, mask, q.data(), k.data() + at, v.data() + at, d_o.data(), result.lse.data(),
                                   delta.data(), dq.data(), dk.data() + at, dv.data() + at);
  });
  const auto expect_gradient = [&](const char* name, const std::vector<double>& gradient, size_t which) {
    constexpr double kStep = 1e-30;
    double largest = 0;
    for (double g : gradient) largest = std::max(largest, std::abs(g));
    const bool constant = c.window == 1 && which != 2;  // the softmax of one score is 1
    if (!constant) {
      ASSERT_GT(largest, 1e-3) << name << ": the gradient is too small to test";
    }
    std::array<std::vector<Complex>, 3> x = {std::vector<Complex>(q.begin(), q.end()),
                                             std::vector<Complex>(k.begin(), k.end()),
                                             std::vector<Complex>(v.begin(), v.end())};
    for (size_t i = 0; i < gradient.size(); ++i) {
      x[which][i] += Complex(0, kStep);
      const Result<Complex> moved = forward(c, x[0], x[1], x[2]);
      double derivative = 0;
      for (size_t j = 0; j < d_o.size(); ++j) derivative += d_o[j] * moved.o[j].imag() / kStep;
      EXPECT_NEAR(gradient[i], derivative, 1e-12 * std::max(largest, 1e-3)) << name << "[" << i << "]";
      x[which][i] -= Complex(0, kStep);
    }
  };
  expect_gradient("dq", dq, 0);
  expect_gradient("dk", dk, 1);
  expect_gradient("dv", dv, 2);
}

TEST_P(ReferenceAttention, BackwardAdds) {
  const Result<double> result = forward(c, q, k, v);
  std::vector<double> delta(result.lse.size());
  operations::attention_delta(c.T * c.H, c.K, d_o.data(), result.o.data(), delta.data());
  const auto run = [&](double start) {
    std::vector<double> dq(q.size(), start), dk(k.size(), start), dv(v.size(), start);
    for_each_piece(c, [&](const AttentionSizes& s, const AttentionMask& mask, int64_t at) {
      operations::attention_backward(s, mask, q.data(), k.data() + at, v.data() + at, d_o.data(), result.lse.data(),
                                     delta.data(), dq.data(), dk.data() + at, dv.data() + at);
    });
    dq.insert(dq.end(), dk.begin(), dk.end());
    dq.insert(dq.end(), dv.begin(), dv.end());
    return dq;
  };
  const std::vector<double> from_zero = run(0), from_ten = run(10);
  for (size_t i = 0; i < from_zero.size(); ++i)
    EXPECT_NEAR(from_ten[i], 10 + from_zero[i], 1e-13);  // tens of roundings
}

INSTANTIATE_TEST_SUITE_P(Cases, ReferenceAttention, testing::ValuesIn(kCases), [](const auto& test) {
  std::string name = test.param.name;
  std::replace_if(
      name.begin(), name.end(), [](char x) { return !std::isalnum(static_cast<unsigned char>(x)); }, '_');
  return name;
});

TEST(ReferenceAttentionRows, ThatSeeNoKeyStayAsTheyAre) {
  const AttentionSizes s{2, 3, 1, 1, 2};  // queries 0 and 1, keys from 1 on: query 0 sees none of them
  const AttentionMask mask(3, 0, 1, std::nullopt, nullptr);
  const std::vector<double> q = normal_values(4, "q"), k = normal_values(6, "k"), v = normal_values(6, "v");
  std::vector<double> o = {5, 6, 0, 0}, lse = {0.5, operations::minus_infinity<double>()};
  operations::attention_forward(s, mask, q.data(), k.data(), v.data(), o.data(), lse.data());
  EXPECT_EQ(o[0], 5);
  EXPECT_EQ(o[1], 6);
  EXPECT_EQ(lse[0], 0.5);
  EXPECT_EQ(o[2], v[0]);  // one key: its value
  EXPECT_EQ(o[3], v[1]);
}

}  // namespace
}  // namespace ropewalk
