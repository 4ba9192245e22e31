#include "launch/plan_options.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "kernels/allowed_cpus.h"
#include "kernels/make_kernels.h"
#include "launch/process/hosts.h"
#include "trainer/run/host_speed.h"
#include "trainer/text/format.h"
#include "trainer/text/nearest.h"

namespace ropewalk {
namespace {

constexpr int kGpusPerHost = 8;

[[noreturn]] void refuse(const std::string& option, const std::string& text, const std::string& why) {
  throw ConfigurationError(fmt::format("--{} {}: {}", option, printable_text(text), why));
}

// The number at the beginning of `text`, and the text after it and any spaces; nullopt if no number is there.
std::optional<std::pair<double, std::string>> number_and_rest(const std::string& text) {
  double value = 0;
  const char* const last = text.data() + text.size();
  const auto read = std::from_chars(text.data(), last, value);
  if (read.ec != std::errc() || !std::isfinite(value)) return std::nullopt;
  const char* rest = read.ptr;
  while (rest != last && *rest == ' ') ++rest;
  return std::pair(value, std::string(rest, last));
}

[[noreturn]] void refuse_mesh(const std::string& text, const std::string& why) {
  refuse("mesh", text, why + "; write dp=N,cp=N,tp=N for data_parallel, context_parallel and tensor_parallel");
}

// GPUs: those of usual hosts. CPUs: one rank for each CPU of this host, as far as there are ranks.
int default_ranks_per_host(const Config& config, bool gpu) {
  return gpu ? kGpusPerHost
             : std::min(config.parallel.mesh.size(), std::max(1, static_cast<int>(allowed_cpus().size())));
}

// The GPU of this host, if the configuration uses CUDA; nullopt: not CUDA, or no working GPU.
std::optional<DeviceStatus> gpu_here(const Config& config) {
  if (config.parallel.backend != BackendKind::kCuda) return std::nullopt;
  try {
    return make_kernels(BackendKind::kCuda)->device_status();
  } catch (const Error&) {
    return std::nullopt;
  }
}

void read_links(const Arguments& arguments, bool gpu, LinkRates& links) {
  const std::string text = arguments.value("links");
  const std::string inside = gpu ? "nvlink" : "shm";
  const auto fail = [&](const std::string& why) {
    refuse("links", text,
           fmt::format("{}; write {}=GB/s,net=GB/s: the one-way bandwidth of a rank to ranks of its host, and to other "
                       "hosts",
                       why, inside));
  };
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size()), equals = text.find('=', begin);
    const std::string name = text.substr(begin, std::min(equals, end) - begin);
    if (name == "nvlink" && !gpu) fail("ranks on CPUs have no nvlink");
    if (name == "shm" && gpu) fail("between GPUs of a host the link is called nvlink");
    if (name != inside && name != "net") fail(fmt::format("there is no link \"{}\"", printable_text(name)));
    const auto number = equals < end ? number_and_rest(text.substr(equals + 1, end - equals - 1)) : std::nullopt;
    if (!number || !number->second.empty() || number->first <= 0)
      fail(fmt::format("{} must be a number above 0", name));
    (name == "net" ? links.between : links.inside) = number->first * 1e9;
    begin = end + 1;
  }
}

}  // namespace

int64_t bytes_of_text(const std::string& option, const std::string& text) {
  const std::pair<const char*, double> units[] = {{"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40},
                                                  {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12}};
  const std::string how = "write a size above 0 with its unit, as 80GiB, 80GB or 512MiB";
  const auto number = number_and_rest(text);
  if (!number) refuse(option, text, how);
  const auto unit = std::ranges::find_if(units, [&](const auto& known) { return number->second == known.first; });
  const double bytes = unit == std::end(units) ? 0 : number->first * unit->second;
  if (number->first <= 0 || number->second.empty() || unit == std::end(units)) refuse(option, text, how);
  if (bytes < 0x1p20 || bytes > 0x1p50) refuse(option, text, "a rank has between 1 MiB and 1024 TiB; " + how);
  return static_cast<int64_t>(bytes);
}

std::vector<std::string> mesh_settings(const std::string& text) {
  const std::pair<const char*, const char*> axes[] = {
      {"dp", "parallel.data_parallel"}, {"cp", "parallel.context_parallel"}, {"tp", "parallel.tensor_parallel"}};
  std::vector<std::optional<int64_t>> sizes(std::size(axes));
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(',', begin), text.size()), equals = text.find('=', begin);
    const std::string name = text.substr(begin, std::min(equals, end) - begin);
    const auto axis = std::ranges::find_if(axes, [&](const auto& known) { return name == known.first; });
    if (axis == std::end(axes)) refuse_mesh(text, fmt::format("there is no axis \"{}\"", printable_text(name)));
    auto& size = sizes[static_cast<size_t>(axis - std::begin(axes))];
    if (size) refuse_mesh(text, name + " is given twice");
    int64_t value = 0;
    const char* const last = text.data() + end;
    const auto read = std::from_chars(text.data() + std::min(equals, end - 1) + 1, last, value);
    if (equals >= end || read.ec != std::errc() || read.ptr != last || value < 1 || value > kMostRanks)
      refuse_mesh(text, fmt::format("{} must be a number from 1 to {}", name, kMostRanks));
    size = value;
    begin = end + 1;
  }
  std::vector<std::string> settings;
  for (size_t i = 0; i < sizes.size(); ++i)
    settings.push_back(fmt::format("{}={}", axes[i].second, sizes[i].value_or(1)));
  return settings;
}

std::vector<std::string> settings_of_device(const Arguments& arguments) {
  if (!arguments.has("device")) return {};
  const std::string name = arguments.value("device");
  if (name == "cpu") return {"parallel.device=CPU"};
  gpu_by_name(name);  // throws if the name is unknown
  return {"parallel.device=CUDA"};
}

Machine machine_of(const Arguments& arguments, const Config& config) {
  Machine out;
  const BackendKind backend = config.parallel.backend;
  const bool gpu = backend == BackendKind::kCuda;
  const double peak = config.output.peak_flops;
  const std::string name = arguments.value("device");
  if (!name.empty() && (name != "cpu") != gpu)
    refuse("device", name,
           fmt::format("--set makes parallel.device {}; leave it out, --device sets it", gpu ? "CUDA" : "CPU"));
  const std::optional<DeviceStatus> here = name.empty() ? gpu_here(config) : std::nullopt;
  if (name == "cpu") {
    out.device = measure_host(backend, peak);
    out.device_source = peak > 0 ? "this host: peak from output.peak_flops, bandwidth of a copy measured just now"
                                 : "this host: a matrix product and a copy measured just now";
  } else if (!name.empty()) {
    out.device = gpu_by_name(name);
    out.device_source = "data sheet";
  } else if (here) {
    if (const DeviceModel* const known = gpu_by_cuda_name(here->name)) {
      out.device = *known;
      out.device_source = "the GPU of this host, data sheet";
    }
  }
  if (out.device && gpu && peak > 0) {
    out.device->peak_flops = peak;
    out.device_source += "; peak from output.peak_flops";
  }

  out.links.ranks_per_host = static_cast<int>(
      arguments.whole_number("ranks-per-host", 1, kMostRanks).value_or(default_ranks_per_host(config, gpu)));
  if (out.device) {
    out.links.inside = out.device->inside;
    out.links.between = out.device->between;
  }
  if (arguments.has("links")) {
    if (!out.device)
      refuse("links", arguments.value("links"), "links only affect step time, which needs --device (h100, cpu, ...)");
    read_links(arguments, gpu, out.links);
  }
  if (out.device)
    out.links_source =
        fmt::format("{} {:.3g} GB/s within its host, net {:.3g} GB/s to other hosts{}", gpu ? "nvlink" : "shm",
                    out.links.inside / 1e9, out.links.between / 1e9,
                    arguments.has("links") ? "" : fmt::format(" (usual values for {})", out.device->name));
  // More ranks than CPUs: each rank has a part of a CPU.
  if (out.device && !gpu) {
    const auto cpus = static_cast<double>(std::max<size_t>(1, allowed_cpus().size()));
    const double share = std::min(1.0, cpus / std::min(out.links.ranks_per_host, config.parallel.mesh.size()));
    out.device->peak_flops *= share;
    out.device->memory_bytes_per_second *= share;
    if (share < 1) out.device_source += fmt::format("; {:.0f} CPUs for {} ranks", cpus, out.links.ranks_per_host);
  }

  if (arguments.has("device-memory")) {
    out.memory = bytes_of_text("device-memory", arguments.value("device-memory"));
    out.memory_source = "--device-memory";
  } else if (gpu && !name.empty()) {
    out.memory = out.device->memory_bytes;
    out.memory_source = name;
  } else if (here) {
    out.memory = here->total_bytes;
    out.memory_source = fmt::format("the {} of this host", printable_text(here->name));
  } else if (!gpu) {
    out.memory = available_memory() / std::max(1, std::min(out.links.ranks_per_host, config.parallel.mesh.size()));
    const int sharing = std::min(out.links.ranks_per_host, config.parallel.mesh.size());
    out.memory_source = sharing > 1 ? fmt::format("free memory of this host, divided by its {} ranks", sharing)
                                    : std::string("free memory of this host");
  }
  return out;
}

}  // namespace ropewalk
