// What Kernels does around every call of a backend; and plain forms reject device memory.
#include <gtest/gtest.h>

#include <functional>

#include "kernels/make_kernels.h"
#include "tests/kernels/counting_poller.h"
#include "tests/kernels/values.h"

namespace ropewalk {
namespace {

TEST(FrontDoor, PollsAfterEveryCallWhileItIsAskedTo) {
  const auto kernels = make_kernels(BackendKind::kReferenceF64);
  std::vector<double> x = normal_values(6, "x"), y(6);
  CountingPoller outer, inner;
  {
    const Kernels::Polling polling(*kernels, outer);
    kernels->copy(tensor_of(x, {6}), tensor_of(y, {6}));
    kernels->download(tensor_of(x, {6}), y.data());
    kernels->sum(tensor_of(x, {6}));
    kernels->synchronize();
    EXPECT_EQ(outer.polls, 4);
    {
      const Kernels::Polling nested(*kernels, inner);
      kernels->upload(x.data(), tensor_of(y, {6}));
    }
    EXPECT_EQ(inner.polls, 1);
    EXPECT_THROW(kernels->copy(tensor_of(x, {6}), tensor_of(y, {5})), std::logic_error);
    EXPECT_EQ(outer.polls, 4) << "a rejected call must not poll";
    kernels->fill(tensor_of(y, {6}), 0);
    EXPECT_EQ(outer.polls, 5);
  }
  kernels->fill(tensor_of(y, {6}), 0);
  EXPECT_EQ(outer.polls, 5);
}

// A device backend that overrides no operation.
class BareDevice final : public Backend {
 public:
  Device device() const override { return {Device::Kind::kCuda, 0}; }
  DType dtype() const override { return DType::kF32; }
  const char* name() const override { return "bare"; }
  std::unique_ptr<Buffer> allocate(int64_t) override { return nullptr; }
  void upload(const void*, const Tensor&) override {}
  void download(const Tensor&, void*) override {}
  void synchronize() override {}
};

TEST(FrontDoor, PlainFormsDoNotTouchADevicesMemory) {
  Kernels kernels(std::make_unique<BareDevice>());
  const Tensor x(reinterpret_cast<void*>(64), DType::kF32, kernels.device(), {2, 4}),
      y(reinterpret_cast<void*>(256), DType::kF32, kernels.device(), {2, 4}),
      z(reinterpret_cast<void*>(512), DType::kF32, kernels.device(), {2, 4});
  for (const auto& operation :
       std::vector<std::function<void()>>{[&] { kernels.fill(x, 0); }, [&] { kernels.copy(x, y); },
                                          [&] { kernels.sum(x); }, [&] { kernels.swiglu_forward(x, y, z); }}) {
    try {
      operation();
      ADD_FAILURE() << "ran on the host";
    } catch (const std::logic_error& error) {
      EXPECT_NE(std::string(error.what()).find("the backend bare does not implement"), std::string::npos)
          << error.what();
    }
  }
}

}  // namespace
}  // namespace ropewalk
