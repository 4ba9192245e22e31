#include "tests/support/naive_model.h"

#include <cmath>

#include "tests/support/tape.h"

namespace ropewalk {
namespace {

template <typename T>
class NaiveModel {
 public:
  using Matrix = typename Tape<T>::Matrix;

  NaiveModel(const ModelConfig& model, const NaiveTensors<T>& weights) : model_(model) {
    for (const auto& [name, shape] : naive_shapes(model)) {
      weights_[name] = tape_.constant(shape.first, shape.second, weights.at(name));
    }
  }

  // The sum of the losses over the sample's targets, [1, 1].
  Matrix loss_sum(const Sample& sample) {
    std::vector<int64_t> tokens(sample.tokens.begin(), sample.tokens.end());
    Matrix x = tape_.take_rows(weight("model.embed_tokens.weight"), tokens);
    for (size_t layer = 0; layer < model_.layers.size(); ++layer) x = block(layer, x, sample);

    // Only rows with a target have a loss.
    std::vector<int64_t> rows, targets;
    for (size_t i = 0; i < sample.targets.size(); ++i) {
      if (sample.targets[i] < 0) continue;
      rows.push_back(static_cast<int64_t>(i));
      targets.push_back(sample.targets[i]);
    }
    const Matrix hidden = tape_.take_rows(layer_norm(x, weight("model.norm.weight")), rows);
    const Matrix logits = tape_.scale(linear(hidden, "model.embed_tokens.weight"), model_.logit_scale);
    const Matrix maxima = tape_.row_maxima(logits);
    const Matrix log_sums = tape_.add(maxima, tape_.log(tape_.row_sums(tape_.exp(tape_.subtract(logits, maxima)))));
    return column_sum(tape_.subtract(log_sums, tape_.take_one_of_each_row(logits, targets)));
  }

  Tape<T>& tape() { return tape_; }
  const std::map<std::string, Matrix>& weights() const { return weights_; }

 private:
  Matrix weight(const std::string& name) { return weights_.at(name); }
  Matrix linear(Matrix x, const std::string& name) { return tape_.product(x, tape_.transpose(weight(name))); }
  Matrix column_sum(Matrix x) { return tape_.transpose(tape_.row_sums(tape_.transpose(x))); }

  // (x - mean) / sqrt(variance + epsilon) * w over each row
  Matrix layer_norm(Matrix x, Matrix w) {
    const double n = static_cast<double>(tape_.columns(x));
    const Matrix centred = tape_.subtract(x, tape_.scale(tape_.row_sums(x), 1 / n));
    const Matrix variance = tape_.scale(tape_.row_sums(tape_.multiply(centred, centred)), 1 / n);
    const Matrix deviation = tape_.square_root(tape_.add_number(variance, model_.norm_epsilon));
    return tape_.multiply(tape_.divide(centred, deviation), w);
  }

  // y = x + attention(LN(x)) + W_down (silu(W_gate LN(x)) * W_up LN(x))
  Matrix block(size_t layer, Matrix x, const Sample& sample) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    const Matrix normed = layer_norm(x, weight(prefix + "input_layernorm.weight"));
    const Matrix attended = attention(model_.layers[layer], prefix + "self_attn.", normed, sample);
    const Matrix gate = linear(normed, prefix + "mlp.gate_proj.weight");
    const Matrix up = linear(normed, prefix + "mlp.up_proj.weight");
    const Matrix silu = tape_.divide(gate, tape_.add_number(tape_.exp(tape_.scale(gate, -1)), 1));
    const Matrix mlp = linear(tape_.multiply(silu, up), prefix + "mlp.down_proj.weight");
    return tape_.add(x, tape_.add(attended, mlp));
  }

  Matrix attention(const LayerKind& kind, const std::string& prefix, Matrix x, const Sample& sample) {
    const Matrix q = linear(x, prefix + "q_proj.weight");
    const Matrix k = linear(x, prefix + "k_proj.weight");
    const Matrix v = linear(x, prefix + "v_proj.weight");
    const std::vector<bool> visible = mask(kind, sample);
    const int64_t size = model_.head_size;
    std::vector<Matrix> outputs;
    for (int64_t head = 0; head < model_.query_heads; ++head) {
      const int64_t key_head = head / (model_.query_heads / model_.key_heads);
      const Matrix qh = prepare_head(kind, q, head, prefix + "q_norm.weight");
      const Matrix kh = prepare_head(kind, k, key_head, prefix + "k_norm.weight");
      const Matrix vh = tape_.take_columns(v, key_head * size, (key_head + 1) * size);
      const Matrix scores =
          tape_.scale(tape_.product(qh, tape_.transpose(kh)), 1 / std::sqrt(static_cast<double>(size)));
      const Matrix masked = tape_.mask(scores, visible);
      const Matrix e = tape_.exp(tape_.subtract(masked, tape_.row_maxima(masked)));
      outputs.push_back(tape_.product(tape_.divide(e, tape_.row_sums(e)), vh));
    }
    return linear(tape_.join_columns(outputs), prefix + "o_proj.weight");
  }

  // One head of q or k: normalized if the layer has a q/k norm, then rotated if it has RoPE.
  Matrix prepare_head(const LayerKind& kind, Matrix x, int64_t head, const std::string& norm) {
    Matrix y = tape_.take_columns(x, head * model_.head_size, (head + 1) * model_.head_size);
    if (kind.qk_norm == LayerKind::QkNorm::kLayerNorm) y = layer_norm(y, tape_.take_rows(weight(norm), {head}));
    if (kind.position == LayerKind::Position::kRope) y = rotate(y, kind.theta);
    return y;
  }

  // RoPE: pair k, (a, b), at position p is rotated by the angle p theta^(-2k/K): y = x cos + (-b, a) sin.
  Matrix rotate(Matrix x, double theta) {
    const int64_t length = tape_.rows(x), size = tape_.columns(x);
    std::vector<T> cosines, sines, quarter(static_cast<size_t>(size * size));
    for (int64_t position = 0; position < length; ++position) {
      for (int64_t column = 0; column < size; ++column) {
        const double exponent = -2.0 * static_cast<double>(column / 2) / static_cast<double>(size);
        const double angle = static_cast<double>(position) * std::pow(theta, exponent);
        cosines.push_back(std::cos(angle));
        sines.push_back(std::sin(angle));
      }
    }
    for (int64_t column = 0; column < size; column += 2) {
      quarter[static_cast<size_t>((column + 1) * size + column)] = T(-1);
      quarter[static_cast<size_t>(column * size + column + 1)] = T(1);
    }
    const Matrix turned = tape_.product(x, tape_.constant(size, size, quarter));
    return tape_.add(tape_.multiply(x, tape_.constant(length, size, cosines)),
                     tape_.multiply(turned, tape_.constant(length, size, sines)));
  }

  // Query i sees key j if and only if j <= i, i - j < window, and both are in the same document.
  static std::vector<bool> mask(const LayerKind& kind, const Sample& sample) {
    const size_t length = sample.tokens.size();
    std::vector<bool> visible;
    for (size_t i = 0; i < length; ++i) {
      for (size_t j = 0; j < length; ++j) {
        const bool near = kind.mask == LayerKind::Mask::kFull || i < j + static_cast<size_t>(kind.window);
        visible.push_back(j <= i && near && sample.document_begin[i] == sample.document_begin[j]);
      }
    }
    return visible;
  }

  const ModelConfig& model_;
  Tape<T> tape_;
  std::map<std::string, Matrix> weights_;
};

double target_count(const std::vector<Sample>& samples) {
  int64_t count = 0;
  for (const Sample& sample : samples) {
    for (int32_t target : sample.targets) count += target >= 0;
  }
  return static_cast<double>(count);
}

bool has_target(const Sample& sample) { return target_count({sample}) > 0; }

}  // namespace

std::map<std::string, std::pair<int64_t, int64_t>> naive_shapes(const ModelConfig& model) {
  const int64_t query_width = model.query_heads * model.head_size, key_width = model.key_heads * model.head_size;
  std::map<std::string, std::pair<int64_t, int64_t>> shapes;
  shapes["model.embed_tokens.weight"] = {model.vocabulary, model.width};
  shapes["model.norm.weight"] = {1, model.width};
  for (size_t layer = 0; layer < model.layers.size(); ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    shapes[prefix + "input_layernorm.weight"] = {1, model.width};
    shapes[prefix + "self_attn.q_proj.weight"] = {query_width, model.width};
    shapes[prefix + "self_attn.k_proj.weight"] = {key_width, model.width};
    shapes[prefix + "self_attn.v_proj.weight"] = {key_width, model.width};
    shapes[prefix + "self_attn.o_proj.weight"] = {model.width, query_width};
    shapes[prefix + "mlp.gate_proj.weight"] = {model.hidden, model.width};
    shapes[prefix + "mlp.up_proj.weight"] = {model.hidden, model.width};
    shapes[prefix + "mlp.down_proj.weight"] = {model.width, model.hidden};
    if (model.layers[layer].qk_norm == LayerKind::QkNorm::kLayerNorm) {
      shapes[prefix + "self_attn.q_norm.weight"] = {model.query_heads, model.head_size};
      shapes[prefix + "self_attn.k_norm.weight"] = {model.key_heads, model.head_size};
    }
  }
  return shapes;
}

NaiveResult naive_gradients(const ModelConfig& model, const NaiveWeights& weights, const std::vector<Sample>& samples) {
  NaiveResult result;
  for (const auto& [name, values] : weights) result.gradients[name].assign(values.size(), 0);
  const double scale = 1 / target_count(samples);
  for (const Sample& sample : samples) {
    if (!has_target(sample)) continue;
    NaiveModel<double> naive(model, weights);
    Tape<double>& tape = naive.tape();
    const auto loss = tape.scale(naive.loss_sum(sample), scale);
    tape.backward(loss);
    result.loss += tape.value(loss)[0];
    for (const auto& [name, matrix] : naive.weights()) {
      std::vector<double>& sum = result.gradients.at(name);
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += tape.gradient(matrix)[i];
    }
  }
  return result;
}

template <typename T>
T naive_loss(const ModelConfig& model, const NaiveTensors<T>& weights, const std::vector<Sample>& samples) {
  T sum = 0;
  for (const Sample& sample : samples) {
    if (!has_target(sample)) continue;
    NaiveModel<T> naive(model, weights);
    const auto loss = naive.loss_sum(sample);
    sum += naive.tape().value(loss)[0];
  }
  return sum / target_count(samples);
}

template double naive_loss(const ModelConfig&, const NaiveTensors<double>&, const std::vector<Sample>&);
template std::complex<double> naive_loss(const ModelConfig&, const NaiveTensors<std::complex<double>>&,
                                         const std::vector<Sample>&);

double NaiveAdamW::update(NaiveWeights& weights, const NaiveWeights& gradients, double rate) {
  double squares = 0;
  for (const auto& [name, gradient] : gradients) {
    for (double g : gradient) squares += g * g;
  }
  const double norm = std::sqrt(squares);
  const bool clips = training_.clip_norm > 0 && norm > training_.clip_norm;
  const double factor = clips ? training_.clip_norm / norm : 1;
  ++steps_;
  const double correction1 = 1 - std::pow(training_.beta1, steps_), correction2 = 1 - std::pow(training_.beta2, steps_);
  for (const auto& [name, gradient] : gradients) {
    const bool is_norm = name.find("norm") != std::string::npos;
    const double decay = is_norm ? 0 : training_.weight_decay;
    std::vector<double>&w = weights.at(name), &m = m_[name], &v = v_[name];
    m.resize(w.size());
    v.resize(w.size());
    for (size_t i = 0; i < w.size(); ++i) {
      const double g = factor * gradient[i];
      m[i] = training_.beta1 * m[i] + (1 - training_.beta1) * g;
      v[i] = training_.beta2 * v[i] + (1 - training_.beta2) * g * g;
      const double step = (m[i] / correction1) / (std::sqrt(v[i] / correction2) + training_.epsilon);
      w[i] -= rate * (step + decay * w[i]);
    }
  }
  return norm;
}

}  // namespace ropewalk
