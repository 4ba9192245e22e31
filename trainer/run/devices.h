// What is known of devices before a run has measured them: peak, bandwidth, memory, links; and how much of each
// Ropewalk's kernels reach. For models of a step's time (step_time.h), and for MFU.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ropewalk {

// Fractions of the device's peak that operations reach; of its bandwidth, for those that memory bounds.
struct Efficiency {
  double products, full_attention, sliding_attention, memory;
};

struct DeviceModel {
  std::string name;                          // as --device has it
  std::vector<std::string> cuda_names = {};  // as CUDA calls it (cudaDeviceProp::name)
  double peak_flops = 0;                     // FLOP/s of one rank's device, dense, in the type that its products take
  double memory_bytes_per_second = 0;        // read and written together
  int64_t memory_bytes = 0;                  // what CUDA reports as total, less than the data sheet's; 0: not fixed
  double inside = 0, between = 0;  // usual links of a rank, bytes/s in one direction: in a host, between hosts
  Efficiency efficiency = {};
  bool is_gpu = true;
};

// The GPUs that are known by name; sources of the figures stand beside them.
std::span<const DeviceModel> known_gpus();

// By the name that --device takes; throws ConfigurationError that names the nearest. "cpu" is not one of them.
const DeviceModel& gpu_by_name(const std::string& name);

// By the name that CUDA reports; null where it is not known. A part of a GPU (MIG) is not the GPU.
const DeviceModel* gpu_by_cuda_name(std::string_view name);

// The fractions that the CPU backend reaches, of a core's peak and of the bandwidth of a copy.
Efficiency cpu_efficiency();

// The dense bf16 peak of a rank's device where it is known by its name, else 0: for MFU, where output.peak_flops is 0.
double peak_flops_of_cuda_name(std::string_view name);

}  // namespace ropewalk
