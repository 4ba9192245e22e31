// PTX ISA, "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions": "Register Fragments and Shared
// Memory Matrix Layouts", "Strides", "Matrix Descriptor Format", "wgmma.mma_async", "wgmma.fence",
// "wgmma.commit_group", "wgmma.wait_group".
//
// A thread that issues a product continues at once. A product is computed when all threads of the warpgroup have issued
// it, or later.
#include <algorithm>
#include <cstring>

#include "kernels/cuda/emulation/asynchronous.h"

namespace ropewalk::simt {
namespace {

constexpr unsigned kRows = 64, kInner = 16;

float widened(uint32_t bits) { return std::bit_cast<float>(bits << 16); }

bool is_poison(const float* registers, size_t count) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(registers);
  return std::all_of(bytes, bytes + count * sizeof(float), [](unsigned char byte) { return byte == kPoison; });
}

// "Matrix Descriptor Format": bits 0-13 are the start address, 16-29 and 32-45 the leading and stride offsets, all in
// units of 16 bytes; 49-51 the base offset; 62-63 the swizzling mode.
struct Descriptor {
  uint32_t start, leading, stride, base, mode;
  bool reserved_are_zero;
};
Descriptor decoded(uint64_t bits) {
  const auto field = [bits](unsigned begin, unsigned width) {
    return static_cast<uint32_t>(bits >> begin & ((1u << width) - 1));
  };
  return {field(0, 14) * 16, field(16, 14) * 16, field(32, 14) * 16,
          field(49, 3),      field(62, 2),       (field(14, 2) | field(30, 2) | field(46, 3) | field(52, 10)) == 0};
}

// c [64, columns] += a b. Plain loops that compilers vectorize.
void multiply_add(float* c, const float (&a)[kRows][kInner], const float* b, unsigned columns) {
  constexpr unsigned kStep = 16;
  for (unsigned row = 0; row < kRows; ++row)
    for (unsigned column = 0; column < columns; column += kStep) {
      float* to = c + row * columns + column;
      float sums[kStep];
      std::copy_n(to, kStep, sums);
      for (unsigned k = 0; k < kInner; ++k)
        for (unsigned i = 0; i < kStep; ++i) sums[i] += a[row][k] * b[k * columns + column + i];
      std::copy_n(sums, kStep, to);
    }
}

}  // namespace

template <typename F>
void Warpgroup::Sums::of_thread(size_t t, const F& f) const {
  const size_t row = t / kWarp * 16 + t % kWarp / 4, column = t % 4 * 2;
  for (size_t i = 0; i < columns / 2; ++i) f((row + i / 2 % 2 * 8) * columns + i / 4 * 8 + column + i % 2, i);
}

void Warpgroup::multiply(const Call& call) {
  Thread& thread = me();
  if (call.columns < 16 || call.columns > 256 || call.columns % 16 != 0)
    block_.fail(fmt::format("a product of {} columns", call.columns));
  auto link = std::ranges::find(thread.links, call.sums, &Link::registers);
  const bool first = link == thread.links.end();
  if ((first || call.a_registers) && !thread.fenced)
    block_.fail("asks for a product without a fence since registers may have been touched");
  const size_t index = thread.asked++;
  Product& product = product_of(index, call, first ? nullptr : &*link);
  if (first) {
    link = thread.links.insert(link, {call.sums, product.sums, index});
    const size_t t = block_.thread() % kWarpgroup;
    if (call.add) product.sums->of_thread(t, [&](size_t to, size_t i) { product.sums->values[to] = call.sums[i]; });
    std::memset(call.sums, kPoison, call.columns / 2 * sizeof(float));
  } else if (!is_poison(call.sums, call.columns / 2)) {
    block_.fail("sums were touched while products were under way");
  }
  link->last = index;
  product.a_registers[block_.thread() % kWarpgroup] = call.a_registers;
  if (++product.asked < kWarpgroup) return;
  if (product.sums->early)
    compute_up_to(index);
  else
    steps_.add([this, index] { compute_up_to(index); });
}

// The product that this thread issues: a new one, or one that other threads have already issued.
Warpgroup::Product& Warpgroup::product_of(size_t index, const Call& call, const Link* link) {
  if (index == first_ + products_.size())
    products_.push_back(
        {call,
         link ? link->sums
              : std::make_shared<Sums>(Sums{call.columns, one_in(2), std::vector<float>(size_t{kRows} * call.columns)}),
         !link,
         {}});
  Product& product = products_[index - first_];
  const Call& other = product.call;
  if (call.columns != other.columns || !call.a_registers != !other.a_registers || call.a != other.a ||
      call.a_transposed != other.a_transposed || call.b != other.b || call.b_transposed != other.b_transposed ||
      call.add != other.add || product.first != !link || (link && product.sums != link->sums))
    block_.fail("threads of a warpgroup ask for different products");
  return product;
}

void Warpgroup::commit() { me().groups.push_back(me().asked); }

void Warpgroup::wait(int newest_groups) {
  Thread& thread = me();
  thread.fenced = false;
  size_t end = 0;
  for (; thread.groups.size() > static_cast<size_t>(newest_groups); thread.groups.pop_front())
    end = thread.groups.front();
  if (end <= thread.delivered) return;
  const Product& last = products_[end - 1 - first_];
  block_.wait_until([&last] { return last.computed; });
  deliver(thread, end);
}

void Warpgroup::deliver(Thread& thread, size_t end) {
  for (const Link& link : thread.links) {
    if (link.last >= end) continue;
    if (!is_poison(link.registers, link.sums->columns / 2))
      block_.fail("sums were touched while products were under way");
    link.sums->of_thread(block_.thread() % kWarpgroup,
                         [&](size_t from, size_t i) { link.registers[i] = link.sums->values[from]; });
  }
  std::erase_if(thread.links, [end](const Link& link) { return link.last < end; });
  for (; thread.delivered < end; ++thread.delivered) ++products_[thread.delivered - first_].delivered;
  for (; !products_.empty() && products_.front().delivered == kWarpgroup; ++first_) products_.pop_front();
}

void Warpgroup::check_end_of_thread() {
  if (me().delivered != me().asked) block_.fail("ends while its products are under way");
}

// Calls f(outer index, inner index, eight elements that are adjacent in memory) for all of an operand, which has 16 of
// the inner dimension. "Strides": K-major, 8 rows are adjacent, and `stride` is the distance to the next 8; MN-major,
// `stride` is the distance between groups of 8 of the inner dimension, and `leading` between groups of 64 of the outer
// one.
template <typename F>
void Warpgroup::for_each_eight(uint64_t descriptor, bool transposed, unsigned outer, const F& f) const {
  const Descriptor d = decoded(descriptor);
  if (d.mode != 1 || !d.reserved_are_zero) block_.fail("a matrix descriptor without the swizzle of 128 bytes");
  if (d.base != 0 || d.start / 128 % 8 != 0) block_.fail("a matrix does not begin at a multiple of 1024 bytes");
  if (d.start % 128 > (transposed ? 0 : 96)) block_.fail("a matrix leaves its rows of 128 bytes");
  const auto eight = [&](uint32_t address) {
    return reinterpret_cast<const uint16_t*>(view_.at(swizzled(address), 8 * sizeof(uint16_t)));
  };
  if (transposed)
    for (unsigned k = 0; k < kInner; ++k)
      for (unsigned i = 0; i < outer; i += 8)
        f(i, k, eight(d.start + i / 64 * d.leading + k / 8 * d.stride + k % 8 * 128 + i % 64 * 2));
  else
    for (unsigned i = 0; i < outer; ++i)
      for (unsigned k = 0; k < kInner; k += 8) f(i, k, eight(d.start + i / 8 * d.stride + i % 8 * 128 + k * 2));
}

void Warpgroup::read(float (&a)[kRows][kInner], const Product& product) const {
  const Call& call = product.call;
  if (call.a_registers) {
    for (unsigned t = 0; t < kWarpgroup; ++t)
      for (unsigned i = 0; i < 8; ++i)
        a[t / kWarp * 16 + t % kWarp / 4 + i / 2 % 2 * 8][t % 4 * 2 + i / 4 * 8 + i % 2] =
            widened(product.a_registers[t][i / 2] >> i % 2 * 16 & 0xffff);
  } else {
    for_each_eight(call.a, call.a_transposed, kRows, [&](unsigned row, unsigned k, const uint16_t* eight) {
      for (unsigned i = 0; i < 8; ++i) (call.a_transposed ? a[row + i][k] : a[row][k + i]) = widened(eight[i]);
    });
  }
}

// Products are computed in the order in which they were issued.
void Warpgroup::compute_up_to(size_t index) {
  for (size_t i = first_; i <= index; ++i)
    if (!products_[i - first_].computed) compute(products_[i - first_]);
}

void Warpgroup::compute(Product& product) {
  const Call& call = product.call;
  float a[kRows][kInner];
  std::vector<float> b(size_t{kInner} * call.columns);
  read(a, product);
  for_each_eight(call.b, call.b_transposed, call.columns, [&](unsigned column, unsigned k, const uint16_t* eight) {
    for (unsigned i = 0; i < 8; ++i)
      b[call.b_transposed ? k * call.columns + column + i : (k + i) * call.columns + column] = widened(eight[i]);
  });
  std::vector<float>& sums = product.sums->values;
  if (!call.add) std::fill(sums.begin(), sums.end(), 0.0f);
  multiply_add(sums.data(), a, b.data(), call.columns);
  product.computed = true;
}

}  // namespace ropewalk::simt
