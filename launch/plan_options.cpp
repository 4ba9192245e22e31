#include "launch/plan_options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>

#include "kernels/allowed_cpus.h"
#include "kernels/make_kernels.h"
#include "launch/process/hosts.h"
#include "trainer/run/host_speed.h"
#include "trainer/text/format.h"

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

// The entries of "name=value,name=value"; an entry without "=" has an empty value. fail(why) throws.
std::vector<std::pair<std::string, std::string>> named_values(const std::string& text,
                                                              const std::function<void(const std::string&)>& fail) {
  std::vector<std::pair<std::string, std::string>> out;
  for (size_t begin = 0; begin <= text.size();) {
    const std::string entry = text.substr(begin, text.find(',', begin) - begin);
    begin += entry.size() + 1;
    const size_t equals = std::min(entry.find('='), entry.size());
    const std::string name = entry.substr(0, equals);
    if (!name.empty() && std::ranges::find(out, name, &std::pair<std::string, std::string>::first) != out.end())
      fail(printable_text(name) + " is given twice");
    out.emplace_back(name, entry.substr(std::min(equals + 1, entry.size())));
  }
  return out;
}

int cpus_here() { return std::max(1, static_cast<int>(allowed_cpus().size())); }

// This host's GPU, for a configuration that uses CUDA.
struct GpuHere {
  std::optional<DeviceStatus> status;
  std::string problem;  // why there is no status, or no model of the GPU; else empty
};

GpuHere gpu_here() {
  try {
    const std::optional<DeviceStatus> status = make_kernels(BackendKind::kCuda)->device_status();
    if (status && !gpu_by_cuda_name(status->name))
      return {status, fmt::format("the speed of this host's GPU, {}, is unknown", in_quotes(status->name))};
    return {status, ""};
  } catch (const Error& error) {
    return {std::nullopt, fmt::format("this host's GPU cannot be used: {}", error.what())};
  }
}

// Sets the device, and where its figures come from.
void set_device(Machine& machine, const std::string& name, const GpuHere& here, const Config& config) {
  const double peak = config.output.peak_flops;
  if (name == "cpu") {
    const DType type = compute_type(config.parallel.backend);
    machine.device = measure_host(config.parallel.backend, peak);
    machine.device_source = peak > 0 ? "this host: peak from output.peak_flops, bandwidth of a copy measured just now"
                                     : fmt::format("this host: a matrix product{} in {} and a copy measured just now",
                                                   type == DType::kBF16 ? " and attention" : "", precision_of(type));
    return;
  }
  if (!name.empty()) {
    machine.device = gpu_by_name(name);
    machine.device_source = "data sheet";
  } else if (const DeviceModel* const known = here.status ? gpu_by_cuda_name(here.status->name) : nullptr) {
    machine.device = *known;
    machine.device_source = "the GPU of this host, data sheet";
  }
  if (machine.device && peak > 0) {
    machine.device->peak_flops = peak;
    machine.device_source += "; peak from output.peak_flops";
  }
}

// If there are more ranks than CPUs, each rank has a part of a CPU: for its arithmetic, and for copying messages.
void share_cpus(Machine& machine, int ranks) {
  const int cpus = cpus_here();
  if (!machine.device || machine.device->is_gpu || ranks <= cpus) return;
  const double share = static_cast<double>(cpus) / ranks;
  machine.device->peak_flops *= share;
  machine.device->memory_bytes_per_second *= share;
  machine.device->inside *= share;
  machine.device_source += fmt::format("; {} for {}", counted(cpus, "CPU"), counted(ranks, "rank"));
}

void set_links(Machine& machine, const Arguments& arguments) {
  const std::string text = arguments.value("links");
  if (!machine.device) {
    if (arguments.has("links"))
      refuse("links", text, "links only affect step time, which needs --device (h100, cpu, ...)");
    return;
  }
  const DeviceModel& device = *machine.device;
  const auto fail = [&](const std::string& why) {
    refuse("links", text,
           fmt::format("{}; write {}=GB/s,net=GB/s: the one-way bandwidth of a rank to ranks of its host, and to other "
                       "hosts",
                       why, device.link));
  };
  machine.links.inside = device.inside;
  machine.links.between = device.between;
  const std::string usual = fmt::format(" (usual for {})", device.name);
  std::string inside_source = device.is_gpu ? usual : " (half the bandwidth of a copy)", between_source = usual;
  if (arguments.has("links"))
    for (const auto& [name, value] : named_values(text, fail)) {
      if (name != device.link && name != "net")
        fail(fmt::format("there is no link {} (ranks of a host use {})", in_quotes(name), device.link));
      const auto number = number_and_rest(value);
      if (!number || !number->second.empty() || number->first < 1e-3 || number->first > 1e6)
        fail(fmt::format("{} must be a number from 0.001 to 1000000", name));
      (name == "net" ? machine.links.between : machine.links.inside) = number->first * 1e9;
      (name == "net" ? between_source : inside_source).clear();
    }
  machine.links_source =
      fmt::format("{} {} within its host{}, net {} to other hosts{}", device.link, rate_text(machine.links.inside),
                  inside_source, rate_text(machine.links.between), between_source);
}

void set_memory(Machine& machine, const Arguments& arguments, const GpuHere& here, bool gpu) {
  if (arguments.has("device-memory")) {
    machine.memory = bytes_of_text("device-memory", arguments.value("device-memory"));
    machine.memory_source = "--device-memory";
  } else if (gpu && arguments.has("device")) {
    machine.memory = machine.device->memory_bytes;
    machine.memory_source = machine.device->name;
  } else if (here.status) {
    machine.memory = here.status->total_bytes;
    machine.memory_source = fmt::format("the {} of this host", printable_text(here.status->name));
  } else if (!gpu) {
    machine.memory = available_memory();
    machine.memory_is_shared = true;
    machine.memory_source = "free memory of this host";
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
  std::vector<int64_t> sizes(std::size(axes), 1);
  for (const auto& [name, text_of_size] : named_values(text, [&](const std::string& why) { refuse_mesh(text, why); })) {
    const auto axis = std::ranges::find_if(axes, [&](const auto& known) { return name == known.first; });
    if (axis == std::end(axes)) refuse_mesh(text, fmt::format("there is no axis \"{}\"", printable_text(name)));
    int64_t value = 0;
    const char* const last = text_of_size.data() + text_of_size.size();
    const auto read = std::from_chars(text_of_size.data(), last, value);
    if (read.ec != std::errc() || read.ptr != last || value < 1 || value > kMostRanks)
      refuse_mesh(text, fmt::format("{} must be a number from 1 to {}", name, kMostRanks));
    sizes[static_cast<size_t>(axis - std::begin(axes))] = value;
  }
  std::vector<std::string> settings;
  for (size_t i = 0; i < sizes.size(); ++i) settings.push_back(fmt::format("{}={}", axes[i].second, sizes[i]));
  return settings;
}

void refuse_axes_in_set(const Arguments& arguments, const std::string& option) {
  if (!arguments.has(option)) return;
  for (const std::string& setting : arguments.values("set"))
    for (const char* axis : {"data_parallel", "context_parallel", "tensor_parallel"})
      if (setting.starts_with(fmt::format("parallel.{}=", axis)) ||
          (setting.starts_with("parallel=") && setting.find(axis) != std::string::npos))
        throw ConfigurationError(
            fmt::format("--set {}: --{} sets the three axes of the mesh; leave out one of the two options",
                        printable_text(setting), option));
}

std::vector<std::string> settings_of_device(const Arguments& arguments) {
  if (!arguments.has("device")) return {};
  const std::string name = arguments.value("device");
  if (name == "cpu") return {"parallel.device=CPU"};
  gpu_by_name(name);  // throws if the name is unknown
  return {"parallel.device=CUDA"};
}

int Machine::ranks_on_host(const MeshShape& mesh) const { return std::min(links.ranks_per_host, mesh.size()); }

int64_t Machine::memory_of_rank(const MeshShape& mesh) const {
  return memory_is_shared ? memory / ranks_on_host(mesh) : memory;
}

std::string Machine::memory_source_of(const MeshShape& mesh) const {
  return memory_is_shared && ranks_on_host(mesh) > 1
             ? fmt::format("{}, divided by its {} ranks", memory_source, ranks_on_host(mesh))
             : memory_source;
}

Machine machine_of(const Arguments& arguments, const Config& config) {
  Machine out;
  const bool gpu = config.parallel.backend == BackendKind::kCuda;
  const std::string name = arguments.value("device");
  if (!name.empty() && (name != "cpu") != gpu)
    refuse("device", name,
           fmt::format("--set makes parallel.device {}; leave it out, --device sets it", gpu ? "CUDA" : "CPU"));
  out.links.ranks_per_host = static_cast<int>(
      arguments.whole_number("ranks-per-host", 1, kMostRanks).value_or(gpu ? kGpusPerHost : cpus_here()));
  const bool looks_here =
      gpu && name.empty() && (!arguments.has("device-memory") || arguments.has("search") || arguments.has("links"));
  const GpuHere here = looks_here ? gpu_here() : GpuHere();
  out.gpu_problem = here.problem;
  set_device(out, name, here, config);
  share_cpus(out, out.ranks_on_host(config.parallel.mesh));
  set_links(out, arguments);
  set_memory(out, arguments, here, gpu);
  return out;
}

}  // namespace ropewalk
