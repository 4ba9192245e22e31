#include <cmath>

#include "kernels/make_kernels.h"
#include "tests/benchmark/cases.h"
#include "tests/benchmark/tensors.h"

namespace ropewalk::benchmark {
namespace {

struct Problem {
  int64_t S, H, G, K;
  std::optional<int64_t> window;
  BackendKind backend = BackendKind::kCpu;

  double pairs() const {
    const int64_t w = window.value_or(S), full = std::min(w, S);
    return static_cast<double>(H) * (0.5 * static_cast<double>(full) * static_cast<double>(full + 1) +
                                     static_cast<double>(S - full) * static_cast<double>(full));
  }
  std::string name(const char* pass) const {
    std::string text = fmt::format("{}attention {} S={} K={}", prefix_of(backend), pass, S, K);
    if (G != H) text += fmt::format(" heads={}:{}", H, G);
    if (window) text += fmt::format(" W={}", *window);
    return text;
  }
};

// The tensors of one call; o and lse come from the forward, delta from attention_delta.
struct Operands {
  explicit Operands(const Problem& p)
      : problem(p),
        kernels(make_kernels(p.backend)),
        q(*kernels, {p.S, p.H, p.K}, 1, 1, kernels->dtype()),
        k(*kernels, {p.S, p.G, p.K}, 2, 1, kernels->dtype()),
        v(*kernels, {p.S, p.G, p.K}, 3, 1, kernels->dtype()),
        d_o(*kernels, {p.S, p.H, p.K}, 4, 1, kernels->dtype()),
        o(*kernels, {p.S, p.H, p.K}, 0),
        saved_o(*kernels, {p.S, p.H, p.K}, 0, 1, kernels->dtype()),
        lse(*kernels, {p.S, p.H}, 0),
        delta(*kernels, {p.S, p.H}, 0),
        dq(*kernels, {p.S, p.H, p.K}, 0),
        dk(*kernels, {p.S, p.G, p.K}, 0),
        dv(*kernels, {p.S, p.G, p.K}, 0) {
    span.window = p.window;
  }
  void start() {
    kernels->fill(o.tensor, 0);
    kernels->fill(lse.tensor, -INFINITY);
  }
  void forward() { kernels->attention_forward(q.tensor, k.tensor, v.tensor, span, o.tensor, lse.tensor); }
  void backward() {
    kernels->attention_delta(d_o.tensor, saved_o.tensor, delta.tensor);
    kernels->attention_backward(q.tensor, k.tensor, v.tensor, d_o.tensor, lse.tensor, delta.tensor, span, dq.tensor,
                                dk.tensor, dv.tensor);
  }

  Problem problem;
  std::unique_ptr<Kernels> kernels;
  Filled q, k, v, d_o, o, saved_o, lse, delta, dq, dk, dv;
  AttentionSpan span;
};

void add(std::vector<Entry>& entries, const Problem& p) {
  entries.push_back({p.name("forward"), yardstick_of(p.backend), [p] {
                       auto operands = std::make_shared<Operands>(p);
                       return Case{p.name("forward"), 4.0 * static_cast<double>(p.K) * p.pairs(),
                                   [operands] { operands->forward(); }, [operands] { operands->start(); }};
                     }});
  entries.push_back({p.name("backward"), yardstick_of(p.backend), [p] {
                       auto operands = std::make_shared<Operands>(p);
                       operands->start();
                       operands->forward();
                       operands->kernels->cast(operands->o.tensor, operands->saved_o.tensor);
                       return Case{p.name("backward"), 10.0 * static_cast<double>(p.K) * p.pairs(),
                                   [operands] { operands->backward(); }};
                     }});
}

}  // namespace

std::vector<Entry> attention_cases() {
  std::vector<Entry> entries;
  for (const BackendKind backend : kPrecisions) {
    for (const int64_t K : {128, 64}) {
      add(entries, {4096, 4, 4, K, std::nullopt, backend});
      add(entries, {16384, 4, 4, K, 512, backend});
    }
    for (const int64_t K : {16, 80, 96, 256}) add(entries, {2048, 4, 4, K, std::nullopt, backend});
    add(entries, {2048, 12, 4, 64, std::nullopt, backend});
    add(entries, {2048, 12, 4, 64, 512, backend});
  }
  return entries;
}

}  // namespace ropewalk::benchmark
