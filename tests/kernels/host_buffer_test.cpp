#include "kernels/host_buffer.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>
#include <vector>

#include "kernels/arena.h"
#include "kernels/make_kernels.h"

// By default the sanitizers abort on an impossible allocation; here it must return an error.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
extern "C" const char* __tsan_default_options() { return "allocator_may_return_null=1"; }

namespace ropewalk {
namespace {

TEST(HostBuffer, IsAlignedAlsoWhenItIsEmpty) {
  for (int64_t bytes : {0, 1, 63, 64, 1000}) {
    const auto buffer = allocate_host(bytes);
    EXPECT_EQ(buffer->bytes(), bytes);
    ASSERT_NE(buffer->data(), nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 64, 0u);
  }
}

TEST(HostBuffer, LargeTensorsBeginAtDifferentPlacesOfTheirPages) {
  const auto kernels = make_kernels(BackendKind::kReferenceF32);
  std::vector<std::unique_ptr<Buffer>> buffers;
  std::set<uintptr_t> places;
  for (int64_t i = 0; i < kStaggeredPlaces; ++i) {
    buffers.push_back(kernels->allocate(1 << 20));
    EXPECT_EQ(buffers.back()->bytes(), 1 << 20);
    places.insert(reinterpret_cast<uintptr_t>(buffers.back()->data()) % 4096);
  }
  Arena arena(*kernels);
  std::set<uintptr_t> in_arena;
  for (int64_t i = 0; i < kStaggeredPlaces; ++i)
    in_arena.insert(reinterpret_cast<uintptr_t>(arena.allocate(DType::kF32, {1 << 20}).raw()) % 4096);
  EXPECT_EQ(places.size(), static_cast<size_t>(kStaggeredPlaces));
  EXPECT_EQ(in_arena.size(), static_cast<size_t>(kStaggeredPlaces));
}

// The flags of the memory mapping that contains an address ("rd wr mr mw me ac sd hg"); empty if Linux does not list
// it.
std::string mapping_flags(const void* address) {
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0, end = 0;
    char dash = 0;
    if (std::istringstream range(line); range >> std::hex >> begin >> dash >> end && dash == '-')
      inside = begin <= reinterpret_cast<uintptr_t>(address) && reinterpret_cast<uintptr_t>(address) < end;
    if (inside && line.starts_with("VmFlags:")) return line.substr(8) + " ";
  }
  return {};
}

TEST(HostBuffer, LargeOnesAskForHugePagesAsFarAsTheyFillThem) {
  if (!std::ifstream("/sys/kernel/mm/transparent_hugepage/enabled")) GTEST_SKIP() << "no huge pages on this system";
  constexpr int64_t kBytes = (5 << 20) + 100;
  const auto large = allocate_host(kBytes), small = allocate_host(1 << 20);
  const auto* data = static_cast<const std::byte*>(large->data());
  const auto huge = [](const void* address) { return mapping_flags(address).find(" hg ") != std::string::npos; };
  EXPECT_TRUE(huge(data));
  EXPECT_TRUE(huge(data + (4 << 20) - 1));
  EXPECT_FALSE(huge(data + kBytes - 1));
  EXPECT_FALSE(huge(small->data()));
}

TEST(HostBuffer, SaysHowMuchWasAskedWhenThereIsNotEnough) {
  const auto kernels = make_kernels(BackendKind::kReferenceF32);
  try {
    kernels->allocate(int64_t{1} << 60);
    FAIL() << "2^60 bytes were allocated";
  } catch (const DeviceError& error) {
    EXPECT_NE(std::string(error.what()).find("1152921504606846976 bytes"), std::string::npos) << error.what();
    EXPECT_EQ(error.code(), ExitCode::kDevice);
  }
  EXPECT_THROW(kernels->allocate(-1), std::logic_error);
}

TEST(MakeKernels, SaysWhatIsThereInPlaceOfWhatIsMissing) {
  EXPECT_EQ(make_kernels(BackendKind::kReferenceF64)->dtype(), DType::kF64);
  EXPECT_EQ(make_kernels(BackendKind::kReferenceF32)->dtype(), DType::kF32);
  EXPECT_STREQ(make_kernels(BackendKind::kCpu)->name(), "cpu");
  try {
    EXPECT_TRUE(std::string_view(make_kernels(BackendKind::kCuda)->name()).starts_with("cuda"));
  } catch (const Error& error) {  // a build without it, or a host without a device
    EXPECT_NE(std::string(error.what()).find("set parallel.device to CPU"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace ropewalk
