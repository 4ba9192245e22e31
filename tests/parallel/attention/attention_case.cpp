#include "tests/parallel/attention/attention_case.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/make_kernels.h"
#include "kernels/random.h"
#include "tests/parallel/attention/strict_communicator.h"
#include "tests/support/ranks.h"

namespace ropewalk {
namespace {

constexpr double kUnset = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kBlockBytes = 1 << 17;

std::vector<double> drawn(const AttentionCase& problem, const char* name, int64_t heads) {
  const RandomStream random(problem.seed, name);
  std::vector<double> out;
  const int64_t elements = problem.sequences * problem.length * heads * problem.head_size;
  for (int64_t i = 0; i < elements; ++i) out.push_back(random.normal(static_cast<uint64_t>(i)));
  return out;
}

size_t elements_of(const AttentionCase& problem, int64_t heads, int64_t columns) {
  return static_cast<size_t>(problem.sequences * problem.length * heads * columns);
}

// Host values to and from a tensor of fp64 or fp32.
void upload_values(Kernels& kernels, const std::vector<double>& values, const Tensor& x) {
  if (x.dtype() == DType::kF64) return kernels.upload(values.data(), x);
  const std::vector<float> rounded(values.begin(), values.end());
  kernels.upload(rounded.data(), x);
}
std::vector<double> download_values(Kernels& kernels, const Tensor& x) {
  std::vector<double> values(static_cast<size_t>(x.elements()));
  if (x.dtype() == DType::kF64) {
    kernels.download(x, values.data());
    return values;
  }
  std::vector<float> rounded(values.size());
  kernels.download(x, rounded.data());
  return {rounded.begin(), rounded.end()};
}

}  // namespace

std::string AttentionCase::text() const {
  std::string out = fmt::format("B {} S {} heads {}:{} K {} window {} seed {} documents", sequences, length, heads,
                                key_heads, head_size, window ? std::to_string(*window) : "none", seed);
  for (const std::vector<int32_t>& of_sequence : documents) out += fmt::format(" [{}]", fmt::join(of_sequence, " "));
  return out;
}

AttentionTensors::AttentionTensors(const AttentionCase& problem)
    : o(elements_of(problem, problem.heads, problem.head_size), kUnset),
      lse(elements_of(problem, problem.heads, 1), kUnset),
      dq(o),
      dk(elements_of(problem, problem.key_heads, problem.head_size), kUnset),
      dv(dk) {}

bool AttentionTensors::same_bits(const AttentionTensors& other) const {
  const auto same = [](const std::vector<double>& a, const std::vector<double>& b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](double x, double y) {
             return std::bit_cast<uint64_t>(x) == std::bit_cast<uint64_t>(y);
           });
  };
  return same(o, other.o) && same(lse, other.lse) && same(dq, other.dq) && same(dk, other.dk) && same(dv, other.dv);
}

RankAttention::RankAttention(const AttentionCase& problem, Kernels& kernels, Communicator& group)
    : problem_(problem),
      kernels_(kernels),
      group_(group),
      layout_(problem.length, group.size()),
      memory_(kernels, kBlockBytes),
      scratch_(kernels, kBlockBytes),
      attention_(problem.window ? make_halo_attention(kernels, group, *problem.window)
                                : make_ring_attention(kernels, group)) {
  sequences_.layout = &layout_;
  sequences_.count = problem.sequences;
  sequences_.local_length = layout_.local_length(group.rank());
  sequences_.documents = problem.documents;
  const int64_t rows = problem.sequences * sequences_.local_length;
  if (!problem.documents.empty()) {
    std::vector<int32_t> local(static_cast<size_t>(rows));
    for_each_row([&](int64_t row, int64_t whole) {
      local[static_cast<size_t>(row)] =
          problem.documents[static_cast<size_t>(whole / problem.length)][static_cast<size_t>(whole % problem.length)];
    });
    sequences_.document_begin = memory_.allocate(DType::kI32, {rows});
    kernels.upload(local.data(), sequences_.document_begin);
  }
  const int64_t h = problem.heads, g = problem.key_heads, k = problem.head_size;
  const DType type = kernels.dtype(), accumulator = accumulator_of(type);
  q_ = unset(type, {rows, h, k});
  d_o_ = unset(type, {rows, h, k});
  kv_ = unset(type, {2, rows, g, k});
  draw("q", h, q_);
  draw("do", h, d_o_);
  draw("k", g, kv_.slice(0, 1).reshape({rows, g, k}));
  draw("v", g, kv_.slice(1, 2).reshape({rows, g, k}));
  o_ = unset(accumulator, {rows, h, k});
  lse_ = unset(accumulator, {rows, h});
  dq_ = unset(accumulator, {rows, h, k});
  dkv_ = unset(accumulator, {2, rows, g, k});
  const ArenaScope scope(scratch_);
  kernels.fill(scratch_.allocate(type, {kBlockBytes / size_of(type)}), kUnset);
}

Tensor RankAttention::unset(DType type, Shape shape) {
  const Tensor x = memory_.allocate(type, shape);
  kernels_.fill(x, kUnset);
  return x;
}

template <typename Visit>
void RankAttention::for_each_row(Visit visit) const {
  for (int64_t b = 0; b < problem_.sequences; ++b) {
    for (const Piece& piece : layout_.pieces(group_.rank())) {
      for (int64_t i = 0; i < piece.size(); ++i) {
        visit(b * sequences_.local_length + piece.local + i, b * problem_.length + piece.begin + i);
      }
    }
  }
}

void RankAttention::draw(const char* name, int64_t heads, const Tensor& into) {
  const std::vector<double> whole = drawn(problem_, name, heads);
  const int64_t row = heads * problem_.head_size;
  std::vector<double> local(static_cast<size_t>(into.elements()));
  for_each_row(
      [&](int64_t to, int64_t from) { std::copy_n(whole.begin() + from * row, row, local.begin() + to * row); });
  upload_values(kernels_, local, into);
}

void RankAttention::forward() { attention_->forward(q_, kv_, sequences_, o_, lse_, scratch_); }

void RankAttention::backward() {
  attention_->backward(q_, kv_, sequences_, o_, lse_, d_o_, dq_, dkv_, scratch_);
  EXPECT_EQ(scratch_.used_bytes(), 0) << "scratch is given back";
}

void RankAttention::collect(AttentionTensors& out) {
  const int64_t rows = q_.rows(), g = problem_.key_heads, k = problem_.head_size;
  const auto gather = [&](const Tensor& x, std::vector<double>& whole) {
    if (x.elements() == 0) return;
    const std::vector<double> local = download_values(kernels_, x);
    const int64_t row = x.elements() / x.rows();
    for_each_row(
        [&](int64_t from, int64_t to) { std::copy_n(local.begin() + from * row, row, whole.begin() + to * row); });
  };
  gather(o_, out.o);
  gather(lse_, out.lse);
  gather(dq_, out.dq);
  gather(dkv_.slice(0, 1).reshape({rows, g, k}), out.dk);
  gather(dkv_.slice(1, 2).reshape({rows, g, k}), out.dv);
}

AttentionTensors run_attention(const AttentionCase& problem, int ranks, BackendKind backend) {
  AttentionTensors out(problem);
  run_ranks(ranks, [&](const std::shared_ptr<Communicator>& world) {
    const std::unique_ptr<Kernels> kernels = make_kernels(backend);
    StrictCommunicator strict(*world);
    RankAttention rank(problem, *kernels, strict);
    rank.forward();
    rank.backward();
    rank.collect(out);  // ranks write different rows
  });
  return out;
}

AttentionTensors naive_attention(const AttentionCase& problem) {
  const int64_t H = problem.heads, G = problem.key_heads, K = problem.head_size, S = problem.length;
  const std::vector<double> q = drawn(problem, "q", H), k = drawn(problem, "k", G), v = drawn(problem, "v", G),
                            d_o = drawn(problem, "do", H);
  AttentionTensors out(problem);
  std::fill(out.dq.begin(), out.dq.end(), 0.0);
  std::fill(out.dk.begin(), out.dk.end(), 0.0);
  std::fill(out.dv.begin(), out.dv.end(), 0.0);
  const double scale = 1 / std::sqrt(static_cast<double>(K));
  const auto dot = [&](const double* a, const double* b) {
    double sum = 0;
    for (int64_t c = 0; c < K; ++c) sum += a[c] * b[c];
    return sum;
  };
  for (int64_t b = 0; b < problem.sequences; ++b) {
    for (int64_t i = 0; i < S; ++i) {
      int64_t first = problem.window ? std::max<int64_t>(i - *problem.window + 1, 0) : 0;
      if (!problem.documents.empty()) {
        first = std::max<int64_t>(first, problem.documents[static_cast<size_t>(b)][static_cast<size_t>(i)]);
      }
      for (int64_t h = 0; h < H; ++h) {
        const int64_t query = (b * S + i) * H + h;
        const auto key = [&](int64_t j) { return ((b * S + j) * G + h / (H / G)) * K; };
        std::vector<double> p;
        double sum = 0;
        for (int64_t j = first; j <= i; ++j) {
          p.push_back(std::exp(scale * dot(&q[static_cast<size_t>(query * K)], &k[static_cast<size_t>(key(j))])));
          sum += p.back();
        }
        out.lse[static_cast<size_t>(query)] = std::log(sum);
        double* const o = &out.o[static_cast<size_t>(query * K)];
        std::fill(o, o + K, 0.0);
        for (int64_t j = first; j <= i; ++j) {
          double& weight = p[static_cast<size_t>(j - first)];
          weight /= sum;
          for (int64_t c = 0; c < K; ++c) o[c] += weight * v[static_cast<size_t>(key(j) + c)];
        }
        const double* const g = &d_o[static_cast<size_t>(query * K)];
        for (int64_t j = first; j <= i; ++j) {
          const double weight = p[static_cast<size_t>(j - first)];
          const double ds = weight * (dot(g, &v[static_cast<size_t>(key(j))]) - dot(g, o)) * scale;
          for (int64_t c = 0; c < K; ++c) {
            out.dq[static_cast<size_t>(query * K + c)] += ds * k[static_cast<size_t>(key(j) + c)];
            out.dk[static_cast<size_t>(key(j) + c)] += ds * q[static_cast<size_t>(query * K + c)];
            out.dv[static_cast<size_t>(key(j) + c)] += weight * g[c];
          }
        }
      }
    }
  }
  return out;
}

double worst_error(const AttentionTensors& actual, const AttentionTensors& expected) {
  double worst = 0;
  for (const auto tensor : {&AttentionTensors::o, &AttentionTensors::lse, &AttentionTensors::dq, &AttentionTensors::dk,
                            &AttentionTensors::dv}) {
    double difference = 0, largest = 0.1;
    for (size_t i = 0; i < (expected.*tensor).size(); ++i) {
      const double x = (actual.*tensor)[i], y = (expected.*tensor)[i];
      if (!std::isfinite(x)) return std::numeric_limits<double>::infinity();
      difference = std::max(difference, std::abs(x - y));
      largest = std::max(largest, std::abs(y));
    }
    worst = std::max(worst, difference / largest);
  }
  return worst;
}

}  // namespace ropewalk
