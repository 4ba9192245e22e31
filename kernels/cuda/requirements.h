// The requirements on a device. They are kept separate from the CUDA calls (device/runtime.cpp), so that the error
// messages can be tested without a device. Each check throws DeviceError if it fails.
#pragma once

#include <string>

#include "kernels/error.h"

namespace ropewalk::cuda {

inline constexpr int kOldest = 8;  // major compute capability: the first with bf16 tensor cores

// Versions are encoded as in CUDA: 12080 is 12.8. A driver of 0 means that there is no driver.
inline void check_driver(int driver, int runtime) {
  const auto text = [](int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); };
  if (driver > 0 && driver < runtime)
    throw DeviceError(
        fmt::format("the NVIDIA driver of this host supports CUDA up to {}, and this program was built with CUDA {}; "
                    "update the driver, or build with an older CUDA",
                    text(driver), text(runtime)));
}

inline void check_count(int devices) {
  if (devices == 0)
    throw DeviceError(
        "this host has no CUDA device or no NVIDIA driver, or CUDA_VISIBLE_DEVICES hides its devices; set "
        "parallel.device to CPU");
}

struct DeviceFacts {
  int index = 0;
  std::string name;
  int major = 0, minor = 0;  // compute capability
};

inline std::string text_of(const DeviceFacts& device) {
  return fmt::format("CUDA device {} is a {} of compute capability {}.{}", device.index, device.name, device.major,
                     device.minor);
}

inline void check_age(const DeviceFacts& device) {
  if (device.major < kOldest) throw DeviceError(fmt::format("{}; bf16 needs {}.0 or later", text_of(device), kOldest));
}

// has_image: whether kernels of this build, which is for `architectures`, run on the device.
inline void check_image(const DeviceFacts& device, bool has_image, const std::string& architectures) {
  if (!has_image)
    throw DeviceError(fmt::format(
        "{}, and this program's kernels are built for {}; configure it with -DROPEWALK_CUDA_ARCHITECTURES={}{}",
        text_of(device), architectures, device.major, device.minor));
}

inline bool is_hopper(const DeviceFacts& device) { return device.major == 9 && device.minor == 0; }

// has_instructions: whether the kernels that run on the device were built for 90a.
inline void check_hopper(const DeviceFacts& device, bool has_instructions, const std::string& architectures) {
  if (!is_hopper(device))
    throw DeviceError(fmt::format("{}, and the Hopper form of attention needs 9.0; set parallel.attention to PORTABLE",
                                  text_of(device)));
  if (!has_instructions)
    throw DeviceError(fmt::format(
        "the Hopper form of attention needs kernels for 90a, and this program's are built for {}; configure it with "
        "-DROPEWALK_CUDA_ARCHITECTURES=90a-real, or set parallel.attention to PORTABLE",
        architectures));
}

}  // namespace ropewalk::cuda
