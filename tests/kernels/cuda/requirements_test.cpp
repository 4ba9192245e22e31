// The error messages for devices that cannot be used.
#include "kernels/cuda/requirements.h"

#include <gtest/gtest.h>

#include <functional>

namespace ropewalk::cuda {
namespace {

std::string error_of(const std::function<void()>& check) {
  try {
    check();
  } catch (const DeviceError& error) {
    return error.what();
  }
  return {};
}

TEST(CudaRequirements, TheDriverIsNoOlderThanTheRuntime) {
  EXPECT_EQ(error_of([] { check_driver(12080, 13000); }),
            "the NVIDIA driver of this host supports CUDA up to 12.8, and this program was built with CUDA 13.0; "
            "update the driver, or build with an older CUDA");
  EXPECT_EQ(error_of([] { check_driver(13000, 13000); }), "");
  EXPECT_EQ(error_of([] { check_driver(0, 13000); }), "") << "no driver at all is reported as no device";
}

TEST(CudaRequirements, ThereIsADevice) {
  EXPECT_NE(error_of([] { check_count(0); }).find("set parallel.device to CPU"), std::string::npos);
  EXPECT_EQ(error_of([] { check_count(1); }), "");
}

TEST(CudaRequirements, TheDeviceMultipliesBf16) {
  EXPECT_EQ(error_of([] {
              check_age({1, "Tesla V100", 7, 0});
            }),
            "CUDA device 1 is a Tesla V100 of compute capability 7.0; bf16 needs 8.0 or later");
  EXPECT_EQ(error_of([] { check_age({0, "NVIDIA A100", 8, 0}); }), "");
}

TEST(CudaRequirements, KernelsAreBuiltForTheDevice) {
  const DeviceFacts ada{0, "NVIDIA L4", 8, 9};
  EXPECT_EQ(
      error_of([&] { check_image(ada, false, "90a-real, 90-virtual"); }),
      "CUDA device 0 is a NVIDIA L4 of compute capability 8.9, and this program's kernels are built for 90a-real, "
      "90-virtual; configure it with -DROPEWALK_CUDA_ARCHITECTURES=89");
  EXPECT_EQ(error_of([&] { check_image(ada, true, "89"); }), "");
}

TEST(CudaRequirements, HoppersFormOfAttentionRunsOnHopperAlone) {
  const DeviceFacts hopper{0, "NVIDIA H100", 9, 0};
  for (const DeviceFacts& other : {DeviceFacts{1, "NVIDIA A100", 8, 0}, DeviceFacts{1, "NVIDIA B200", 10, 0}})
    EXPECT_EQ(
        error_of([&] { check_hopper(other, true, "90a-real"); }),
        fmt::format("CUDA device 1 is a {} of compute capability {}.0, and the Hopper form of attention needs 9.0; "
                    "set parallel.attention to PORTABLE",
                    other.name, other.major));
  EXPECT_EQ(error_of([&] { check_hopper(hopper, false, "80, 90"); }),
            "the Hopper form of attention needs kernels for 90a, and this program's are built for 80, 90; configure it "
            "with -DROPEWALK_CUDA_ARCHITECTURES=90a-real, or set parallel.attention to PORTABLE");
  EXPECT_EQ(error_of([&] { check_hopper(hopper, true, "90a-real"); }), "");
}

}  // namespace
}  // namespace ropewalk::cuda
