#include "trainer/model/initial_weights.h"

#include <algorithm>
#include <map>
#include <system_error>
#include <thread>
#include <vector>

#include "kernels/allowed_cpus.h"
#include "kernels/floating.h"
#include "kernels/random.h"

namespace ropewalk {
namespace {

constexpr int64_t kElementsOfAThread = 1 << 16;  // drawn by a thread at a time: some milliseconds of work
constexpr int64_t kMostThreads = 16;             // ranks that are not bound to cores share all cores of the host

// Calls work(begin, end) for consecutive parts of [0, count), in parallel.
template <typename Work>
void in_parallel(int64_t count, int64_t threads, const Work& work) {
  const int64_t parts = std::clamp<int64_t>(count / kElementsOfAThread, 1, threads);
  std::vector<std::jthread> others;
  int64_t part = 1;
  try {
    for (; part < parts; ++part)
      others.emplace_back(
          [&work, begin = part * count / parts, end = (part + 1) * count / parts] { work(begin, end); });
  } catch (const std::system_error&) {  // no more threads allowed: this one does the rest
    work(part * count / parts, count);
  }
  work(0, count / parts);
}

template <typename T>
void draw(const Parameter& parameter, const StateTensor& weight, double deviation, uint64_t seed, DType type,
          Kernels& kernels) {
  const RandomStream stream(seed, parameter.name);
  const Box& box = weight.box;
  const int64_t count = box.elements(), threads = std::clamp<int64_t>(std::ssize(allowed_cpus()), 1, kMostThreads);
  const int64_t at_once = threads * kElementsOfAThread;  // bounds host memory: a large embedding has gigabytes
  std::vector<T> drawn(static_cast<size_t>(std::min(count, at_once)));
  for (int64_t begin = 0; begin < count; begin += at_once) {
    const int64_t end = std::min(begin + at_once, count);
    in_parallel(end - begin, threads, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) {
        const int64_t row = box.row_begin + (begin + i) / box.columns();
        const int64_t column = box.column_begin + (begin + i) % box.columns();
        const auto place = static_cast<uint64_t>(row * parameter.columns() + column);  // in the whole tensor
        const double value = deviation * stream.normal(place);
        drawn[static_cast<size_t>(i)] = narrow<T>(type == DType::kBF16 ? widen(narrow<BFloat16>(value)) : value);
      }
    });
    kernels.upload(drawn.data(), weight.data.flat().slice(begin, end));
  }
}

}  // namespace

void draw_initial_weights(std::span<const StateTensor> weights, const ParameterTable& table, const ModelConfig& model,
                          uint64_t seed, Kernels& kernels) {
  const DType type = kernels.dtype();
  std::map<std::string, const Parameter*> by_name;
  for (const Parameter& parameter : table.all()) by_name[parameter.name] = &parameter;
  for (const StateTensor& weight : weights) {
    const auto found = by_name.find(weight.name);
    CHECK(found != by_name.end(), "{} is no parameter of this model", weight.name);
    const Parameter& parameter = *found->second;
    if (!parameter.is_matrix)
      kernels.fill(weight.data, 1.0);
    else
      visit_floating(weight.data.dtype(), [&](auto element) {
        draw<decltype(element)>(parameter, weight, model.initializer_range, seed, type, kernels);
      });
  }
}

}  // namespace ropewalk
