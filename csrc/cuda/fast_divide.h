// Division by a number that is known before the launch: a multiplication and a shift instead of some 20 instructions.
// Granlund and Montgomery, "Division by invariant integers using multiplication", PLDI 1994.
#pragma once

#include <cstdint>

#include "cuda/host_device.h"

namespace fastconv {
namespace cuda {

// Exact for 0 <= dividend < 2^31 and 1 <= divisor < 2^31.
class FastDivide {
 public:
  FastDivide() = default;
  explicit constexpr FastDivide(std::int32_t divisor) : divisor_(static_cast<std::uint32_t>(divisor)) {
    while ((std::uint64_t{1} << shift_) < divisor_) ++shift_;
    magic_ = static_cast<std::uint32_t>((((std::uint64_t{1} << shift_) - divisor_) << 32) / divisor_ + 1);
  }

  FASTCONV_HOST_DEVICE constexpr std::int32_t quotient(std::int32_t dividend) const {
    const auto n = static_cast<std::uint32_t>(dividend);
    const auto high = static_cast<std::uint32_t>((std::uint64_t{n} * magic_) >> 32);
    return static_cast<std::int32_t>((high + n) >> shift_);
  }
  FASTCONV_HOST_DEVICE constexpr std::int32_t remainder(std::int32_t dividend, std::int32_t quotient) const {
    return dividend - quotient * static_cast<std::int32_t>(divisor_);
  }

 private:
  std::uint32_t divisor_ = 1, magic_ = 1, shift_ = 0;
};

}  // namespace cuda
}  // namespace fastconv
