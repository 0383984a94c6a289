// What the Winograd drivers may ask of an instruction set: the transforms between images and points. The products at
// the points are done by the direct tiles of conv_kernels.h. float only.
#pragma once

#include <cstdint>

#include "cpu/kernels/conv_kernels.h"

namespace fastconv {

// F(m x m, r x r): m outputs and r taps an axis, m + r - 1 points.
enum class WinogradTile { f2x2_3x3, f4x4_3x3, f2x2_5x5 };
constexpr int kWinogradTiles = 3;
constexpr int kWinogradMaxPoints = 36;

struct WinogradSize {
  int outputs, taps;
  constexpr int edge() const { return outputs + taps - 1; }
  constexpr int points() const { return edge() * edge(); }
};

constexpr WinogradSize winograd_size(WinogradTile tile) {
  return tile == WinogradTile::f2x2_3x3   ? WinogradSize{2, 3}
         : tile == WinogradTile::f4x4_3x3 ? WinogradSize{4, 3}
                                          : WinogradSize{2, 5};
}

// A square of pixels and its points, for some channels. Pixels outside [row0, row1) x [column0, column1) are zero, or,
// as outputs, not stored.
struct WinogradToPoints {
  const float* pixels;      // of pixel (0, 0), which may lie outside
  std::int64_t row, pixel;  // elements between neighbours
  int row0, row1, column0, column1;
  std::int64_t channels;  // points hold zero from here up to whole vectors
  float* points;          // [point][...]
  std::int64_t point;     // elements between points
  std::int64_t prefetch;  // elements to the next tile's pixels, which are fetched meanwhile
};

// max_pool: the largest of each 2 x 2 outputs is stored, of a whole number of such windows.
struct WinogradFromPoints {
  const float* points;  // [point][...], whole vectors
  std::int64_t point;
  int rows, columns;  // valid outputs
  std::int64_t channels;
  const float* bias;  // or null
  Activation activation;
  float* pixels;
  std::int64_t row, pixel;
  bool stream;  // store past the caches: whole vectors at aligned addresses only
};

// Filters between [tap][input][lanes] and [point][input][lanes].
struct WinogradFilters {
  std::int64_t inputs, lanes;  // a whole number of vectors
  std::int64_t tap, point;     // elements between taps and between points
};

struct WinogradKernels {
  void (*input[kWinogradTiles])(const WinogradToPoints&);
  // [max_pool]; false: some result, before activation, is not finite
  bool (*output[2][kWinogradTiles])(const WinogradFromPoints&);
  void (*filters[kWinogradTiles])(const WinogradFilters&, const float* taps, float* points);
  void (*gradient[kWinogradTiles])(const WinogradToPoints&);  // of the outputs, for the gradient of the filters ...
  bool (*filter_gradient[kWinogradTiles])(const WinogradFilters&, const float* points, float* taps);  // ... and back
};

}  // namespace fastconv
