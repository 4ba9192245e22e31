#include "kernels/operations/elementwise.h"

#include "kernels/operations/call.h"
#include "kernels/operations/operand.h"
#include "kernels/operations/plain.h"

namespace ropewalk {

void Kernels::copy(const Tensor& from, const Tensor& to) {
  check_operand(*this, "copy: from", from, from.dtype(), from.shape());
  check_operand(*this, "copy: to", to, from.dtype(), from.shape());
  check_apart("copy: to", to, {from});
  call(
      __func__, [&] { return moved({from}, {to}); }, [&] { backend_->copy(from, to); });
}

void Kernels::cast(const Tensor& from, const Tensor& to) {
  check_floating(*this, "cast: from", from);
  check_floating(*this, "cast: to", to);
  check_operand(*this, "cast: to", to, to.dtype(), from.shape());
  check_apart("cast: to", to, {from});
  call(
      __func__, [&] { return moved({from}, {to}); }, [&] { backend_->cast(from, to); });
}

void Kernels::fill(const Tensor& x, double value) {
  check_floating(*this, "fill: x", x);
  call(
      __func__, [&] { return moved({}, {x}); }, [&] { backend_->fill(x, value); });
}

void Kernels::add(const Tensor& a, const Tensor& b, const Tensor& y) {
  check_floating(*this, "add: a", a);
  check_operand(*this, "add: b", b, a.dtype(), a.shape());
  check_operand(*this, "add: y", y, a.dtype(), a.shape());
  check_apart("add: y", y, {a, b}, InPlace::kAllowed);
  call(
      __func__,
      [&] {
        return moved({a, b}, {y});
      },
      [&] { backend_->add(a, b, y); });
}

double Kernels::sum(const Tensor& x) {
  check_floating(*this, "sum: x", x);
  double total = 0;
  call(
      __func__, [&] { return moved({x}, {}); }, [&] { total = backend_->sum(x); });
  return total;
}

double Kernels::sum_of_squares(const Tensor& x) {
  check_floating(*this, "sum_of_squares: x", x);
  double total = 0;
  call(
      __func__, [&] { return moved({x}, {}); }, [&] { total = backend_->sum_of_squares(x); });
  return total;
}

std::optional<int64_t> Kernels::first_not_finite(const Tensor& x) {
  check_floating(*this, "first_not_finite: x", x);
  std::optional<int64_t> first;
  call(
      __func__, [&] { return moved({x}, {}); }, [&] { first = backend_->first_not_finite(x); });
  return first;
}

void Backend::copy(const Tensor& from, const Tensor& to) {
  if (operations::runs_plain(*this, __func__)) operations::copy_bytes(from.raw(), to.raw(), from.bytes());
}

void Backend::cast(const Tensor& from, const Tensor& to) {
  operations::plain(*this, __func__, from.dtype(), [&](auto source) {
    visit_floating(to.dtype(), [&](auto target) {
      operations::cast(from.elements(), from.data<decltype(source)>(), to.data<decltype(target)>());
    });
  });
}

void Backend::fill(const Tensor& x, double value) {
  operations::plain(*this, __func__, x.dtype(),
                    [&](auto element) { operations::fill(x.elements(), x.data<decltype(element)>(), value); });
}

void Backend::add(const Tensor& a, const Tensor& b, const Tensor& y) {
  operations::plain(*this, __func__, a.dtype(), [&](auto element) {
    using E = decltype(element);
    operations::add(a.elements(), a.data<E>(), b.data<E>(), y.data<E>());
  });
}

double Backend::sum(const Tensor& x) {
  double total = 0;
  operations::plain(*this, __func__, x.dtype(),
                    [&](auto element) { total = operations::sum(x.elements(), x.data<decltype(element)>()); });
  return total;
}

double Backend::sum_of_squares(const Tensor& x) {
  double total = 0;
  operations::plain(*this, __func__, x.dtype(), [&](auto element) {
    total = operations::sum_of_squares(x.elements(), x.data<decltype(element)>());
  });
  return total;
}

std::optional<int64_t> Backend::first_not_finite(const Tensor& x) {
  std::optional<int64_t> first;
  operations::plain(*this, __func__, x.dtype(), [&](auto element) {
    first = operations::first_not_finite(x.elements(), x.data<decltype(element)>());
  });
  return first;
}

}  // namespace ropewalk
