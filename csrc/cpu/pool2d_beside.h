// Small planes side by side: their rows have too few windows for the vector lanes, and windows at borders are computed
// one by one. So as many planes as a cache line has elements are turned to channels last in scratch that stays in the
// L2 cache, pooled by those kernels, and turned back.
#pragma once

#include <algorithm>

#include "cpu/isa.h"
#include "cpu/pool2d_plans.h"
#include "cpu/scratch.h"

namespace fastconv {

template <class T>
class PlanesBeside {
 public:
  static constexpr auto kPlanes = static_cast<std::int64_t>(kAlignment / sizeof(T));

  PlanesBeside(const Pool2dShape& s, bool places)
      : planes_(s.n * s.c),
        bytes_(beside_bytes(s, places)),
        threads_(pool_threads(s, sizeof(T))),
        memory_(static_cast<std::size_t>(threads_ * bytes_)) {}

  // body(first plane, planes, scratch) for all planes.
  template <class Body>
  void for_each(Body&& body) const {
    parallel_for(ceil_div(planes_, kPlanes), threads_, [&](std::int64_t task, int thread) {
      const std::int64_t first = task * kPlanes;
      body(first, std::min(kPlanes, planes_ - first), reinterpret_cast<T*>(memory_.as<char>() + thread * bytes_));
    });
  }

  // Elements of either dtype move as they are.
  template <class U>
  static void gather(const U* planes, std::int64_t count, std::int64_t pixels, U* pixels_beside) {
    active_kernel_set<U>().conv.transpose(planes, count, pixels, pixels, pixels_beside, kPlanes);
  }
  template <class U>
  static void scatter(const U* pixels_beside, std::int64_t count, std::int64_t pixels, U* planes) {
    active_kernel_set<U>().conv.transpose(pixels_beside, pixels, count, kPlanes, planes, pixels);
  }
  static void gather(const std::int32_t* places, std::int64_t count, std::int64_t pixels, std::int32_t* beside) {
    gather(reinterpret_cast<const float*>(places), count, pixels, reinterpret_cast<float*>(beside));
  }
  static void scatter(const std::int32_t* beside, std::int64_t count, std::int64_t pixels, std::int32_t* places) {
    scatter(reinterpret_cast<const float*>(beside), count, pixels, reinterpret_cast<float*>(places));
  }

 private:
  std::int64_t planes_, bytes_;
  int threads_;
  Scratch memory_;
};

}  // namespace fastconv
