// Planes side by side: small ones have too few windows in a row for the vector lanes, windows at borders are computed
// one by one, and those further apart than two columns are read lane by lane. So a band of rows of as many planes as a
// cache line has elements is turned to channels last in scratch that stays in the L2 cache, pooled by those kernels,
// and turned back.
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

  PlanesBeside(const Pool2dShape& s, bool backward, bool places)
      : s_(s),
        backward_(backward),
        plan_(plan_beside(s, backward, places)),
        threads_(pool_threads(s, sizeof(T))),
        memory_(static_cast<std::size_t>(threads_ * plan_.bytes)) {}

  struct Band {
    std::int64_t plane, planes;  // the first, and how many
    Span written, read;          // rows
    T *pixels, *results;         // scratch for either
  };

  // body(band) for all bands of all planes.
  template <class Body>
  void for_each(Body&& body) const {
    const std::int64_t planes = s_.n * s_.c, rows = backward_ ? s_.ih : s_.oh;
    parallel_for(ceil_div(planes, kPlanes) * plan_.bands, threads_, [&](std::int64_t task, int thread) {
      Band band{};
      band.plane = task / plan_.bands * kPlanes;
      band.planes = std::min(kPlanes, planes - band.plane);
      band.written.first = task % plan_.bands * plan_.rows;
      band.written.count = std::min(plan_.rows, rows - band.written.first);
      if (band.written.count <= 0) return;
      band.read = rows_for(s_, backward_, band.written);
      band.pixels = reinterpret_cast<T*>(memory_.as<char>() + thread * plan_.bytes);
      band.results = band.pixels + plan_.read_rows * (backward_ ? s_.ow : s_.iw) * kPlanes;
      body(band);
    });
  }

  // Elements of either dtype move as they are.
  template <class U>
  static void gather(const U* planes, std::int64_t count, std::int64_t plane, std::int64_t pixels, U* pixels_beside) {
    active_kernel_set<U>().conv.transpose(planes, count, pixels, plane, pixels_beside, kPlanes);
  }
  template <class U>
  static void scatter(const U* pixels_beside, std::int64_t count, std::int64_t plane, std::int64_t pixels, U* planes) {
    active_kernel_set<U>().conv.transpose(pixels_beside, pixels, count, kPlanes, planes, plane);
  }
  static void scatter(const std::int32_t* beside, std::int64_t count, std::int64_t plane, std::int64_t pixels,
                      std::int32_t* places) {
    scatter(reinterpret_cast<const float*>(beside), count, plane, pixels, reinterpret_cast<float*>(places));
  }

 private:
  const Pool2dShape& s_;
  bool backward_;
  BesidePlan plan_;
  int threads_;
  Scratch memory_;
};

}  // namespace fastconv
