// Reverse-mode automatic differentiation of matrix formulas on a tape, for the naive model. It uses nothing of the
// program but CHECK. T is usually double. The tests of the naive model itself also run its forward with
// std::complex<double>, and compare the tape's gradients with complex-step derivatives (Squire & Trapp, 1998).
#pragma once

#include <cmath>
#include <complex>
#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/error.h"

namespace ropewalk {

template <typename T>
class Tape {
 public:
  using Matrix = int;  // index of a node: a matrix [rows, columns] and, after backward(), its gradient

  int64_t rows(Matrix a) const { return at(a).rows; }
  int64_t columns(Matrix a) const { return at(a).columns; }
  const std::vector<T>& value(Matrix a) const { return at(a).value; }
  const std::vector<T>& gradient(Matrix a) const { return at(a).gradient; }

  Matrix constant(int64_t rows, int64_t columns, std::vector<T> value) {
    CHECK(static_cast<int64_t>(value.size()) == rows * columns, "{} values for [{}, {}]", value.size(), rows, columns);
    nodes_.push_back({rows, columns, std::move(value), std::vector<T>(static_cast<size_t>(rows * columns)), {}});
    return static_cast<Matrix>(nodes_.size()) - 1;
  }

  // y = a b
  Matrix product(Matrix a, Matrix b) {
    const int64_t n = rows(a), m = columns(a), p = columns(b);
    CHECK(m == rows(b), "[{}, {}] times [{}, {}]", n, m, rows(b), p);
    const Matrix y = zeros(n, p);
    for_each3(n, m, p, [&](int64_t i, int64_t j, int64_t k) { at(y)(i, k) += at(a)(i, j) * at(b)(j, k); });
    at(y).backward = [=, this] {
      for_each3(n, m, p, [&](int64_t i, int64_t j, int64_t k) {
        at(a).d(i, j) += at(y).d(i, k) * at(b)(j, k);
        at(b).d(j, k) += at(y).d(i, k) * at(a)(i, j);
      });
    };
    return y;
  }

  Matrix transpose(Matrix a) {
    const Matrix y = zeros(columns(a), rows(a));
    link(y, a, [](int64_t i, int64_t j) { return Place{j, i}; });
    return y;
  }

  // Elementwise; an extent of one is broadcast to the other operand's.
  Matrix add(Matrix a, Matrix b) {
    return zip(
        a, b, [](T x, T z) { return x + z; }, [](T, T) { return T(1); }, [](T, T) { return T(1); });
  }
  Matrix subtract(Matrix a, Matrix b) {
    return zip(
        a, b, [](T x, T z) { return x - z; }, [](T, T) { return T(1); }, [](T, T) { return T(-1); });
  }
  Matrix multiply(Matrix a, Matrix b) {
    return zip(
        a, b, [](T x, T z) { return x * z; }, [](T, T z) { return z; }, [](T x, T) { return x; });
  }
  Matrix divide(Matrix a, Matrix b) {
    return zip(
        a, b, [](T x, T z) { return x / z; }, [](T, T z) { return T(1) / z; }, [](T x, T z) { return -x / (z * z); });
  }

  // y = f(a), with its derivative
  Matrix scale(Matrix a, double factor) {
    return map(
        a, [=](T x) { return x * factor; }, [=](T) { return T(factor); });
  }
  Matrix add_number(Matrix a, double number) {
    return map(
        a, [=](T x) { return x + number; }, [](T) { return T(1); });
  }
  Matrix exp(Matrix a) {
    return map(
        a, [](T x) { return std::exp(x); }, [](T x) { return std::exp(x); });
  }
  Matrix log(Matrix a) {
    return map(
        a, [](T x) { return std::log(x); }, [](T x) { return T(1) / x; });
  }
  Matrix square_root(Matrix a) {
    return map(
        a, [](T x) { return std::sqrt(x); }, [](T x) { return T(0.5) / std::sqrt(x); });
  }

  // y = a where keep, minus infinity elsewhere; keep is [rows, columns]
  Matrix mask(Matrix a, const std::vector<bool>& keep) {
    const Matrix y = zeros(rows(a), columns(a));
    for (size_t i = 0; i < keep.size(); ++i) at(y).value[i] = keep[i] ? at(a).value[i] : T(-INFINITY);
    at(y).backward = [=, this] {
      for (size_t i = 0; i < keep.size(); ++i) at(a).gradient[i] += keep[i] ? at(y).gradient[i] : T(0);
    };
    return y;
  }

  Matrix row_sums(Matrix a) {  // [rows, 1]
    return product(a, constant(columns(a), 1, std::vector<T>(static_cast<size_t>(columns(a)), T(1))));
  }
  // The maximum of each row, [rows, 1], as a constant, to subtract before exp. No gradient is needed: softmax
  // and cross-entropy do not depend on the constant that is subtracted.
  Matrix row_maxima(Matrix a) {
    std::vector<T> maxima;
    for (int64_t i = 0; i < rows(a); ++i) {
      double largest = -INFINITY;
      for (int64_t j = 0; j < columns(a); ++j) largest = std::max(largest, std::real(at(a)(i, j)));
      maxima.push_back(largest);
    }
    return constant(rows(a), 1, maxima);
  }

  Matrix take_columns(Matrix a, int64_t begin, int64_t end) {
    const Matrix y = zeros(rows(a), end - begin);
    link(y, a, [=](int64_t i, int64_t j) { return Place{i, begin + j}; });
    return y;
  }
  Matrix take_rows(Matrix a, const std::vector<int64_t>& which) {  // y[i] = a[which[i]]
    const Matrix y = zeros(static_cast<int64_t>(which.size()), columns(a));
    link(y, a, [=](int64_t i, int64_t j) { return Place{which[static_cast<size_t>(i)], j}; });
    return y;
  }
  Matrix take_one_of_each_row(Matrix a, const std::vector<int64_t>& which) {  // y[i] = a[i, which[i]], [rows, 1]
    const Matrix y = zeros(rows(a), 1);
    link(y, a, [=](int64_t i, int64_t) { return Place{i, which[static_cast<size_t>(i)]}; });
    return y;
  }
  Matrix join_columns(const std::vector<Matrix>& parts) {
    int64_t total = 0;
    for (Matrix part : parts) total += columns(part);
    const Matrix y = zeros(rows(parts[0]), total);
    auto walk = [=, this](auto visit) {
      int64_t begin = 0;
      for (Matrix part : parts) {
        for_each2(rows(part), columns(part), [&](int64_t i, int64_t j) { visit(part, i, j, begin + j); });
        begin += columns(part);
      }
    };
    walk([&](Matrix part, int64_t i, int64_t j, int64_t to) { at(y)(i, to) = at(part)(i, j); });
    at(y).backward = [=, this] {
      walk([&](Matrix part, int64_t i, int64_t j, int64_t to) { at(part).d(i, j) += at(y).d(i, to); });
    };
    return y;
  }

  // Computes dy/da into the gradient of every node a; y must be [1, 1].
  void backward(Matrix y) {
    CHECK(rows(y) == 1 && columns(y) == 1, "the derivative of [{}, {}]", rows(y), columns(y));
    at(y).gradient[0] = T(1);
    for (size_t node = nodes_.size(); node-- > 0;) {
      if (nodes_[node].backward) nodes_[node].backward();
    }
  }

 private:
  struct Node {
    int64_t rows, columns;
    std::vector<T> value, gradient;
    std::function<void()> backward;  // adds to the gradients of its operands
    T& operator()(int64_t i, int64_t j) { return value[static_cast<size_t>(i * columns + j)]; }
    T& d(int64_t i, int64_t j) { return gradient[static_cast<size_t>(i * columns + j)]; }
  };
  struct Place {
    int64_t row, column;
  };

  Node& at(Matrix a) { return nodes_[static_cast<size_t>(a)]; }
  const Node& at(Matrix a) const { return nodes_[static_cast<size_t>(a)]; }
  Matrix zeros(int64_t rows, int64_t columns) {
    return constant(rows, columns, std::vector<T>(static_cast<size_t>(rows * columns)));
  }

  template <typename Visit>
  static void for_each2(int64_t n, int64_t m, Visit visit) {
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < m; ++j) visit(i, j);
    }
  }
  template <typename Visit>
  static void for_each3(int64_t n, int64_t m, int64_t p, Visit visit) {
    for_each2(n, m, [&](int64_t i, int64_t j) {
      for (int64_t k = 0; k < p; ++k) visit(i, j, k);
    });
  }

  // y(i, j) = a(place(i, j))
  template <typename Where>
  void link(Matrix y, Matrix a, Where place) {
    for_each2(rows(y), columns(y), [&](int64_t i, int64_t j) {
      const Place from = place(i, j);
      at(y)(i, j) = at(a)(from.row, from.column);
    });
    at(y).backward = [=, this] {
      for_each2(rows(y), columns(y), [&](int64_t i, int64_t j) {
        const Place from = place(i, j);
        at(a).d(from.row, from.column) += at(y).d(i, j);
      });
    };
  }

  template <typename Function, typename Derivative>
  Matrix map(Matrix a, Function f, Derivative df) {
    const Matrix y = zeros(rows(a), columns(a));
    for (size_t i = 0; i < value(a).size(); ++i) at(y).value[i] = f(at(a).value[i]);
    at(y).backward = [=, this] {
      for (size_t i = 0; i < value(a).size(); ++i) at(a).gradient[i] += at(y).gradient[i] * df(at(a).value[i]);
    };
    return y;
  }

  template <typename Function, typename DerivativeA, typename DerivativeB>
  Matrix zip(Matrix a, Matrix b, Function f, DerivativeA dfa, DerivativeB dfb) {
    const int64_t n = std::max(rows(a), rows(b)), m = std::max(columns(a), columns(b));
    auto fits = [](int64_t extent, int64_t wanted) { return extent == wanted || extent == 1; };
    CHECK(fits(rows(a), n) && fits(rows(b), n) && fits(columns(a), m) && fits(columns(b), m), "[{}, {}] with [{}, {}]",
          rows(a), columns(a), rows(b), columns(b));
    auto place = [this](Matrix x, int64_t i, int64_t j) {
      return Place{rows(x) == 1 ? 0 : i, columns(x) == 1 ? 0 : j};
    };
    const Matrix y = zeros(n, m);
    auto walk = [=, this](auto visit) {
      for_each2(n, m, [&](int64_t i, int64_t j) { visit(i, j, place(a, i, j), place(b, i, j)); });
    };
    walk([&](int64_t i, int64_t j, Place p, Place q) {
      at(y)(i, j) = f(at(a)(p.row, p.column), at(b)(q.row, q.column));
    });
    at(y).backward = [=, this] {
      walk([&](int64_t i, int64_t j, Place p, Place q) {
        const T x = at(a)(p.row, p.column), z = at(b)(q.row, q.column);
        at(a).d(p.row, p.column) += at(y).d(i, j) * dfa(x, z);
        at(b).d(q.row, q.column) += at(y).d(i, j) * dfb(x, z);
      });
    };
    return y;
  }

  std::vector<Node> nodes_;
};

}  // namespace ropewalk
