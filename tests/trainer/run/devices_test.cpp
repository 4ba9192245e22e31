#include "trainer/run/devices.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace ropewalk {
namespace {

TEST(Devices, AreKnownByTheNamesThatCudaReports) {
  EXPECT_DOUBLE_EQ(gpu_by_cuda_name("NVIDIA H100 80GB HBM3")->peak_flops, 989.4e12);
  EXPECT_DOUBLE_EQ(gpu_by_cuda_name("NVIDIA H100 PCIe")->peak_flops, 756e12);
  EXPECT_DOUBLE_EQ(gpu_by_cuda_name("NVIDIA A100-SXM4-80GB")->peak_flops, 312e12);
  EXPECT_EQ(gpu_by_cuda_name("NVIDIA H200")->name, "h200");
}

// A part of a GPU, a GPU that is not in the table, the emulated one: nothing is invented.
TEST(Devices, OfAnotherNameAreUnknown) {
  for (const char* name :
       {"NVIDIA H100 80GB HBM3 MIG 3g.40gb", "NVIDIA H100", "NVIDIA GeForce RTX 3060", "emulated", ""})
    EXPECT_FALSE(gpu_by_cuda_name(name)) << name;
}

TEST(Devices, AreRefusedByNameWithTheNearest) {
  EXPECT_EQ(gpu_by_name("b200").memory_bytes >> 30, 178);
  expect_error<ConfigurationError>([] { gpu_by_name("h10"); }, {"\"h10\"", "did you mean h100?", "l40s"});
  expect_error<ConfigurationError>([] { gpu_by_name("tpu-v5e"); }, {"there is no device \"tpu-v5e\"; known are cpu,"});
}

TEST(Devices, HaveSensibleFigures) {
  for (const char* name : {"h100", "h100-pcie", "h100-nvl", "h200", "a100", "a100-pcie", "a100-40gb", "b200", "l40s"}) {
    const DeviceModel& device = gpu_by_name(name);
    EXPECT_EQ(gpu_by_cuda_name(device.cuda_name), &device);
    EXPECT_TRUE(device.link == (device.inside > 1e11 ? "nvlink" : "pcie")) << device.name;
    EXPECT_TRUE(device.peak_flops > 1e14 && device.peak_flops < 3e15) << device.name;
    EXPECT_TRUE(device.memory_bytes_per_second > 5e11 && device.memory_bytes_per_second < 1e13) << device.name;
    EXPECT_TRUE(device.inside >= device.between && device.between > 0) << device.name;
    const Efficiency& reached = device.efficiency;
    for (const double fraction : {reached.products, reached.full_attention, reached.sliding_attention, reached.memory})
      EXPECT_TRUE(fraction > 0.1 && fraction < 1) << device.name;
  }
}

}  // namespace
}  // namespace ropewalk
