#include "trainer/run/devices.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "kernels/error.h"
#include "trainer/text/format.h"
#include "trainer/text/nearest.h"

namespace ropewalk {
namespace {

// Measured on one H100 SXM under constant load (kernels/README.md, "What bounds the cuda backend"), in TFLOP/s of 989:
// matrix products 640 to 690; full attention 520 to 640 forward and 510 to 530 backward, about 535 for both together.
// Sliding attention is 1.02 to 1.08 times as fast per visible pair. Norm, RoPE, SwiGLU, loss and AdamW reach 0.92 to
// 1.01 of the bandwidth of a copy, which itself reaches some 2.8 of 3.35 TB/s.
constexpr Efficiency kHopper{.products = 0.67, .full_attention = 0.54, .sliding_attention = 0.565, .memory = 0.80};
// Not measured on these GPUs. They run the portable attention kernels. On an H100 these took 1.6 and 1.9 times as long
// as Hopper's own: 305 TFLOP/s, half of what mma.sync reaches there (some 0.62 of the peak). Ampere and Ada have no
// faster instruction; on Blackwell mma.sync is no faster than on Hopper.
constexpr Efficiency kAmpere{.products = 0.70, .full_attention = 0.49, .sliding_attention = 0.51, .memory = 0.80};
constexpr Efficiency kBlackwell{.products = 0.67, .full_attention = 0.14, .sliding_attention = 0.145, .memory = 0.80};

// teraflops: TFLOP/s, dense, bf16 with fp32 accumulation (data sheets often print twice that, "with sparsity").
// terabytes: memory bandwidth in TB/s. mebibytes: memory as CUDA reports it. inside, between: one-way GB/s. Data sheets
// give NVLink's two directions together, so one way is half of that. Between hosts: one network port for each GPU, as
// in NVIDIA's DGX of that generation (400 Gbit/s; A100: 200 Gbit/s).
DeviceModel gpu(const char* name, const char* cuda_name, double teraflops, double terabytes, int64_t mebibytes,
                const char* link, double inside, double between, const Efficiency& efficiency) {
  return {name,          cuda_name,  link, teraflops * 1e12, terabytes * 1e12, mebibytes << 20, inside * 1e9,
          between * 1e9, efficiency, true};
}

const std::vector<DeviceModel>& table() {
  static const std::vector<DeviceModel> devices = {
      // H100 data sheet, SXM: 1,979 TFLOP/s sparse, 3.35 TB/s, 80 GB, NVLink 900 GB/s.
      gpu("h100", "NVIDIA H100 80GB HBM3", 989.4, 3.35, 81079, "nvlink", 450, 50, kHopper),
      // H100 data sheet, PCIe: 1,513 TFLOP/s sparse, 2 TB/s, 80 GB, PCIe 5.
      gpu("h100-pcie", "NVIDIA H100 PCIe", 756, 2.0, 81079, "pcie", 55, 25, kHopper),
      // H100 NVL product brief: 1,671 TFLOP/s sparse, 3.9 TB/s, 94 GB, PCIe 5 between pairs.
      gpu("h100-nvl", "NVIDIA H100 NVL", 835, 3.9, 95320, "pcie", 55, 25, kHopper),
      // H200 data sheet, SXM: 1,979 TFLOP/s sparse, 4.8 TB/s, 141 GB, NVLink 900 GB/s.
      gpu("h200", "NVIDIA H200", 989.4, 4.8, 143156, "nvlink", 450, 50, kHopper),
      // A100 data sheet: 312 TFLOP/s; 80 GB SXM 2,039 GB/s, 80 GB PCIe 1,935, 40 GB SXM 1,555; NVLink 600 GB/s, PCIe 4.
      gpu("a100", "NVIDIA A100-SXM4-80GB", 312, 2.039, 81154, "nvlink", 300, 25, kAmpere),
      gpu("a100-pcie", "NVIDIA A100 80GB PCIe", 312, 1.935, 81154, "pcie", 28, 25, kAmpere),
      gpu("a100-40gb", "NVIDIA A100-SXM4-40GB", 312, 1.555, 40442, "nvlink", 300, 25, kAmpere),
      // DGX B200 data sheet, for 8 GPUs: 36 PFLOP/s sparse, 1,440 GB, NVLink 14.4 TB/s. As its driver reports them:
      // bandwidth 7.67 TB/s, memory 178.35 GiB (github.com/pytorch/ao, pull request 4002).
      gpu("b200", "NVIDIA B200", 2250, 7.67, 182630, "nvlink", 900, 50, kBlackwell),
      // L40S data sheet: 362 TFLOP/s dense, 864 GB/s, 48 GB, PCIe 4.
      gpu("l40s", "NVIDIA L40S", 362, 0.864, 45589, "pcie", 28, 25, kAmpere)};
  return devices;
}

}  // namespace

const DeviceModel& gpu_by_name(const std::string& name) {
  const auto found = std::ranges::find(table(), name, &DeviceModel::name);
  if (found != table().end()) return *found;
  std::vector<std::string> names = {"cpu"};
  for (const DeviceModel& device : table()) names.push_back(device.name);
  const std::string nearest = nearest_name(name, names);
  throw ConfigurationError(fmt::format("there is no device {}{}; known are {}", in_quotes(name),
                                       nearest.empty() ? "" : fmt::format(", did you mean {}?", nearest),
                                       fmt::join(names, ", ")));
}

const DeviceModel* gpu_by_cuda_name(std::string_view name) {
  const auto found = std::ranges::find(table(), name, &DeviceModel::cuda_name);
  return found == table().end() ? nullptr : &*found;
}

// README.md, "How fast, and how long": full attention 0.66 to 0.75 of the machine's peak, sliding attention 0.62 to
// 0.66; norms, SwiGLU and embeddings 0.60 to 0.80 of a copy. kernels/README.md: matrix products run at 0.99 of oneDNN's
// speed; oneDNN reaches 0.90 of the peak.
Efficiency cpu_efficiency() {
  return {.products = 0.90, .full_attention = 0.70, .sliding_attention = 0.64, .memory = 0.70};
}

}  // namespace ropewalk
