#include "tests/benchmark/device/operations.h"

#include <cmath>
#include <map>
#include <vector>

#include "kernels/error.h"
#include "kernels/flops.h"
#include "kernels/random.h"
#include "tests/benchmark/tensors.h"

namespace ropewalk::benchmark {
namespace {

using Json = nlohmann::json;

// The tensors of an operation.
class Tensors {
 public:
  explicit Tensors(Kernels& device) : kernels(device) {}

  Tensor drawn(DType type, Shape shape, uint64_t seed, double scale = 1) {
    return filled_.emplace_back(kernels, shape, seed, scale, type).tensor;
  }
  Tensor zeros(DType type, Shape shape) { return drawn(type, shape, 0); }
  Tensor integers(int64_t count, int64_t below) {
    const RandomStream stream(1, "integers");
    std::vector<int32_t> values(static_cast<size_t>(count));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<int32_t>(stream.uniform(i) * static_cast<double>(below));
    integers_ = kernels.allocate(count * size_of(DType::kI32));
    const Tensor x(integers_->data(), DType::kI32, kernels.device(), {count});
    kernels.upload(values.data(), x);
    return x;
  }

  Kernels& kernels;

 private:
  std::vector<Filled> filled_;
  std::unique_ptr<Buffer> integers_;
};

double bytes_of(std::initializer_list<Tensor> tensors) {
  double bytes = 0;
  for (const Tensor& x : tensors) bytes += static_cast<double>(x.bytes());
  return bytes;
}

struct Maker {
  Operation copy() {
    const Tensor a = t->drawn(type, {number("elements")}, 1), b = t->drawn(type, {number("elements")}, 2);
    return {[=, t = t] { t->kernels.copy(a, b); }, 0, bytes_of({a, b})};
  }
  Operation add() {
    const Shape shape{number("rows"), number("width")};
    const Tensor a = t->drawn(type, shape, 1), b = t->drawn(type, shape, 2), y = t->drawn(type, shape, 3);
    return {[=, t = t] { t->kernels.add(a, b, y); }, 0, bytes_of({a, b, y})};
  }
  Operation sum_of_squares() {
    const Tensor x = t->drawn(accumulator, {number("elements")}, 1);
    return {[=, t = t] { t->kernels.sum_of_squares(x); }, 0, bytes_of({x})};
  }
  Operation linear(const std::string& pass) {
    const int64_t N = number("rows"), I = number("inputs"), O = number("outputs");
    const Tensor x = t->drawn(type, {N, I}, 1), w = t->drawn(type, {O, I}, 2, 0.02), y = t->drawn(type, {N, O}, 3);
    const double flops = 2.0 * static_cast<double>(N * I) * static_cast<double>(O);
    if (pass == "forward") return {[=, t = t] { t->kernels.linear_forward(x, w, y, Write::kSet); }, flops};
    if (pass == "backward_input")
      return {[=, t = t] { t->kernels.linear_backward_input(y, w, x, Write::kSet); }, flops};
    const Tensor dw = t->zeros(accumulator, {O, I});
    return {[=, t = t] { t->kernels.linear_backward_weight(y, x, dw, Write::kAdd); }, flops};
  }
  Operation attention(bool forward) {
    const int64_t S = number("length"), H = number("heads"), G = number("key_heads"), K = number("head_size");
    const Tensor q = t->drawn(type, {S, H, K}, 1), k = t->drawn(type, {S, G, K}, 2), v = t->drawn(type, {S, G, K}, 3);
    const Tensor o = t->zeros(accumulator, {S, H, K}), lse = t->zeros(accumulator, {S, H});
    AttentionSpan span;
    if (request.value("window", int64_t{0}) > 0) span.window = request["window"].get<int64_t>();
    const auto run_forward = [=, t = t] {
      t->kernels.fill(o, 0);
      t->kernels.fill(lse, -INFINITY);
      t->kernels.attention_forward(q, k, v, span, o, lse);
    };
    if (forward) return {run_forward, static_cast<double>(attention_flops(Pass::kForward, q, k, span))};
    run_forward();
    const Tensor kept = t->zeros(type, {S, H, K});
    t->kernels.cast(o, kept);
    const Tensor d_o = t->drawn(type, {S, H, K}, 4), delta = t->zeros(accumulator, {S, H});
    const Tensor dq = t->zeros(accumulator, {S, H, K}), dk = t->zeros(accumulator, {S, G, K}),
                 dv = t->zeros(accumulator, {S, G, K});
    return {[=, t = t] {
              t->kernels.attention_delta(d_o, kept, delta);
              t->kernels.attention_backward(q, k, v, d_o, lse, delta, span, dq, dk, dv);
            },
            static_cast<double>(attention_flops(Pass::kBackward, q, k, span))};
  }
  Operation layer_norm(bool forward) {
    const int64_t N = number("rows"), D = number("width"), M = request.value("heads", int64_t{1});
    const Tensor x = t->drawn(type, {N, D}, 1), y = t->drawn(type, {N, D}, 2), w = t->drawn(type, {M, D}, 3);
    const Tensor mean = t->zeros(accumulator, {N}), rstd = t->zeros(accumulator, {N});
    const auto run_forward = [=, t = t] { t->kernels.layer_norm_forward(x, w, 1e-5, y, mean, rstd); };
    if (forward) return {run_forward, 0, bytes_of({x, y})};
    run_forward();
    const Tensor through = t->drawn(type, {N, D}, 4), dx = t->drawn(type, {N, D}, 5),
                 dw = t->zeros(accumulator, {M, D});
    return {[=, t = t] { t->kernels.layer_norm_backward(y, x, w, mean, rstd, through, dx, dw, Write::kAdd); }, 0,
            bytes_of({y, x, through, dx})};
  }
  Operation rotate() {
    const Tensor x = t->drawn(type, {number("rows"), number("heads"), number("head_size")}, 1);
    return {[=, t = t] { t->kernels.rotate(x, 0, 50000, Rotation::kForward); }, 0, bytes_of({x, x})};
  }
  Operation swiglu(bool forward) {
    const Shape shape{number("rows"), number("width")};
    const Tensor gate = t->drawn(type, shape, 1), up = t->drawn(type, shape, 2), h = t->drawn(type, shape, 3);
    if (forward) return {[=, t = t] { t->kernels.swiglu_forward(gate, up, h); }, 0, bytes_of({gate, up, h})};
    const Tensor dgate = t->drawn(type, shape, 4), dup = t->drawn(type, shape, 5);
    return {[=, t = t] { t->kernels.swiglu_backward(h, gate, up, dgate, dup); }, 0,
            bytes_of({h, gate, up, dgate, dup})};
  }
  // Both passes over the logits: one reads them, the other reads and writes them.
  Operation cross_entropy() {
    const int64_t N = number("rows"), V = number("width");
    const Tensor logits = t->drawn(type, {N, V}, 1), targets = t->integers(N, V);
    const Tensor partials = t->zeros(accumulator, {1, N, 3}), log_sum = t->zeros(accumulator, {N}),
                 losses = t->zeros(accumulator, {N});
    return {[=, t = t] {
              t->kernels.cross_entropy_partials(logits, targets, 0, 0.25, partials.reshape({N, 3}));
              t->kernels.cross_entropy_merge(partials, targets, log_sum, losses);
              t->kernels.cross_entropy_backward(logits, targets, log_sum, 0, 0.25, 1.0);
            },
            0, bytes_of({logits, logits, logits})};
  }
  Operation adamw() {
    const Shape shape{number("elements")};
    const Tensor w = t->drawn(accumulator, shape, 1), g = t->drawn(accumulator, shape, 2),
                 m = t->drawn(accumulator, shape, 3), v = t->zeros(accumulator, shape);
    t->kernels.fill(v, 1e-4);
    const Tensor narrow = type == accumulator ? Tensor() : t->zeros(type, shape);
    return {[=, t = t] {
              t->kernels.adamw(w, g, m, v, narrow, {1e-4, 0.9, 0.95, 1e-8, 0.1, 10, 1.0});
            },
            0, bytes_of({w, w, g, m, m, v, v, narrow})};
  }

  int64_t number(const char* name) const {
    if (!request.contains(name)) throw ConfigurationError(fmt::format("{} lacks \"{}\"", request.dump(), name));
    return request[name].get<int64_t>();
  }

  const Json& request;
  std::shared_ptr<Tensors> t;
  DType type = t->kernels.dtype(), accumulator = accumulator_of(type);
};

}  // namespace

Operation make_operation(const Json& request, Kernels& kernels) {
  Maker make{request, std::make_shared<Tensors>(kernels)};
  const std::map<std::string, std::function<Operation()>> operations = {
      {"copy", [&] { return make.copy(); }},
      {"add", [&] { return make.add(); }},
      {"sum_of_squares", [&] { return make.sum_of_squares(); }},
      {"linear_forward", [&] { return make.linear("forward"); }},
      {"linear_backward_input", [&] { return make.linear("backward_input"); }},
      {"linear_backward_weight", [&] { return make.linear("backward_weight"); }},
      {"attention_forward", [&] { return make.attention(true); }},
      {"attention_backward", [&] { return make.attention(false); }},
      {"ring_forward", [&] { return make_ring(request, kernels); }},
      {"ring_backward", [&] { return make_ring(request, kernels); }},
      {"layer_norm_forward", [&] { return make.layer_norm(true); }},
      {"layer_norm_backward", [&] { return make.layer_norm(false); }},
      {"rotate", [&] { return make.rotate(); }},
      {"swiglu_forward", [&] { return make.swiglu(true); }},
      {"swiglu_backward", [&] { return make.swiglu(false); }},
      {"cross_entropy", [&] { return make.cross_entropy(); }},
      {"adamw", [&] { return make.adamw(); }},
  };
  const auto found = operations.find(request.value("operation", ""));
  if (found == operations.end()) throw ConfigurationError("unknown operation: " + request.dump());
  return found->second();
}

}  // namespace ropewalk::benchmark
