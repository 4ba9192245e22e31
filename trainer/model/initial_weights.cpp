#include "trainer/model/initial_weights.h"

#include <sched.h>

#include <algorithm>
#include <map>
#include <system_error>
#include <thread>
#include <type_traits>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/random.h"

namespace ropewalk {
namespace {

constexpr int64_t kElementsOfAThread = 1 << 16;  // at a time, some milliseconds of work
constexpr int64_t kMostThreads = 16;             // ranks of a host that are not bound to cores share them

int64_t usable_cores() {
  cpu_set_t cores;
  // It fails on hosts of more CPUs than a cpu_set_t has.
  return sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : std::thread::hardware_concurrency();
}

// Calls work(begin, end) for consecutive parts of [0, count), side by side.
template <typename Work>
void in_parallel(int64_t count, int64_t threads, const Work& work) {
  const int64_t parts = std::clamp<int64_t>(count / kElementsOfAThread, 1, threads);
  std::vector<std::jthread> others;
  int64_t part = 1;
  try {
    for (; part < parts; ++part)
      others.emplace_back(
          [&work, begin = part * count / parts, end = (part + 1) * count / parts] { work(begin, end); });
  } catch (const std::system_error&) {  // a limit of threads: this one does the rest
    work(part * count / parts, count);
  }
  work(0, count / parts);
}

// A drawn value as a T. In fp32 it is first rounded to `type`, the weights' in use.
template <typename T>
T as(double value, DType type) {
  if constexpr (std::is_same_v<T, double>) {
    return value;
  } else {
    const auto single = static_cast<float>(value);
    if constexpr (std::is_same_v<T, BFloat16>) return BFloat16(single);
    return type == DType::kBF16 ? static_cast<T>(static_cast<float>(BFloat16(single))) : static_cast<T>(single);
  }
}

template <typename T>
void draw(const Parameter& parameter, const StateTensor& weight, double deviation, uint64_t seed, DType type,
          Kernels& kernels) {
  const RandomStream stream(seed, parameter.name);
  const Box& box = weight.box;
  const int64_t count = box.elements(), threads = std::clamp<int64_t>(usable_cores(), 1, kMostThreads);
  const int64_t at_once = threads * kElementsOfAThread;  // on the host: a table of a large vocabulary has gigabytes
  std::vector<T> drawn(static_cast<size_t>(std::min(count, at_once)));
  for (int64_t begin = 0; begin < count; begin += at_once) {
    const int64_t end = std::min(begin + at_once, count);
    in_parallel(end - begin, threads, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) {
        const int64_t row = box.row_begin + (begin + i) / box.columns();
        const int64_t column = box.column_begin + (begin + i) % box.columns();
        const auto place = static_cast<uint64_t>(row * parameter.columns() + column);  // in the whole tensor
        drawn[static_cast<size_t>(i)] = as<T>(deviation * stream.normal(place), type);
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
    else if (weight.data.dtype() == DType::kF64)
      draw<double>(parameter, weight, model.initializer_range, seed, type, kernels);
    else if (weight.data.dtype() == DType::kBF16)
      draw<BFloat16>(parameter, weight, model.initializer_range, seed, type, kernels);
    else
      draw<float>(parameter, weight, model.initializer_range, seed, type, kernels);
  }
}

}  // namespace ropewalk
