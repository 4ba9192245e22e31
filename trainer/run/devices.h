// Devices, as known before a run measures them: peak, memory bandwidth, memory size and links, and the fractions of
// peak and bandwidth that Ropewalk's kernels reach. Used by the model of step time (step_time.h), and for MFU.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ropewalk {

// The fraction of the device's peak that each kind of operation reaches. products: matrix products (GEMMs). memory:
// memory-bound operations (norms, RoPE, SwiGLU, loss, AdamW); a fraction of the bandwidth.
struct Efficiency {
  double products, full_attention, sliding_attention, memory;
};

struct DeviceModel {
  std::string name;                    // as given to --device
  std::string cuda_name = {};          // as CUDA reports it (cudaDeviceProp::name)
  std::string link = "nvlink";         // between ranks of a host: "nvlink", "pcie" (GPUs) or "shm" (CPUs)
  double peak_flops = 0;               // FLOP/s of one device: dense, with inputs of the compute type
  double memory_bytes_per_second = 0;  // bytes read plus bytes written
  int64_t memory_bytes = 0;            // total as CUDA reports it, below the data sheet's; 0: a CPU (host memory)
  double inside = 0, between = 0;      // usual one-way bandwidth of a rank, bytes/s: within a host, between hosts
  Efficiency efficiency = {};
  bool is_gpu = true;
};

// Finds a known GPU by its --device name ("cpu" is not one); the source of each figure stands in devices.cpp. Throws
// ConfigurationError, which suggests the most similar name.
const DeviceModel& gpu_by_name(const std::string& name);

// Finds a GPU by the name that CUDA reports; null if unknown. A MIG slice has another name, so it is unknown.
const DeviceModel* gpu_by_cuda_name(std::string_view name);

// The fractions that the CPU backend reaches: of a core's peak, and of the bandwidth of a copy.
Efficiency cpu_efficiency();

}  // namespace ropewalk
