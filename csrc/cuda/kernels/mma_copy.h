// How the operands of mma_tile.h get to shared memory. Whole pieces are copied as such, later; where channels or
// addresses do not come in pieces, they are put together element by element.
#pragma once

#include "cuda/kernels/conv2d_geometry.h"
#include "cuda/kernels/mma_tile.h"

namespace fastconv {
namespace cuda {

template <int copy_bytes>
constexpr bool kWholePieces = copy_bytes == kPieceBytes;

// One piece; read(e) is where its element e lies, or negative for a zero. What is narrower than the narrowest
// asynchronous copy is stored at once.
template <class T, class Read>
FASTCONV_DEVICE void copy_elements(unsigned char* piece, const T* from, const Read& read) {
  if constexpr (sizeof(T) >= 4) {
    FASTCONV_UNROLL_ON_GPU
    for (int e = 0; e < kPieceElements<T>; ++e) {
      const std::int64_t at = read(e);
      cp_async<sizeof(T)>(piece + e * sizeof(T), from + (at < 0 ? 0 : at), at >= 0);
    }
  } else {
    Pack<T, kPieceElements<T>> elements;
    FASTCONV_UNROLL_ON_GPU
    for (int e = 0; e < kPieceElements<T>; ++e) {
      const std::int64_t at = read(e);
      elements.at[e] = at < 0 ? T{} : from[at];
    }
    store(reinterpret_cast<T*>(piece), elements);
  }
}

// What a thread copies of an operand with depth inside. Whole pieces: the same one of every 32nd line. Else some
// neighbours of one line, so that it has to remember one line only.
template <class Operand, int kBytes>
struct DepthCopies {
  static constexpr bool kWhole = kWholePieces<kBytes>;
  static constexpr int kLines = kWhole ? Operand::kCopies : 1;
  static constexpr int kThreadsOfLine = kWhole ? Operand::kPieces : kMmaThreads / Operand::kLines;

  FASTCONV_DEVICE static int line(int i) { return thread_x() / kThreadsOfLine + i * Operand::kAtOnce; }
  FASTCONV_DEVICE static int piece() { return thread_x() % kThreadsOfLine * (Operand::kPieces / kThreadsOfLine); }
};

// An operand with lines inside. read(depth, e): where in `from` element e of this thread's piece lies, so deep in the
// slab, or negative; whole pieces are asked for e = 0 alone.
template <class Operand, int kBytes, class T, class Read>
FASTCONV_DEVICE void copy_lines(unsigned char* slab, const T* from, const Read& read) {
  const int depth = thread_x() / Operand::kPieces;
  unsigned char* const to = slab + Operand::place(depth, thread_x() % Operand::kPieces);
  FASTCONV_UNROLL_BY(kWholePieces<kBytes> ? Operand::kCopies : 1)
  for (int i = 0; i < Operand::kCopies; ++i) {
    const int at_depth = depth + i * Operand::kAtOnce;
    if constexpr (kWholePieces<kBytes>) {
      const std::int64_t at = read(at_depth, 0);
      cp_async<kPieceBytes>(to + i * Operand::kApart, from + (at < 0 ? 0 : at), at >= 0);
    } else {
      copy_elements(to + i * Operand::kApart, from, [&](int e) { return read(at_depth, e); });
    }
  }
}

// The taps through which the rows of a product see an image.
struct TapWindow {
  std::int32_t height, width, channels;  // of the image, of all groups
  std::int32_t step_h, step_w;           // pixels from one tap to the next
  std::int32_t taps_w, group_channels;
  std::int32_t depth;  // all taps with the channels of a group
  FastDivide by_channels, by_taps_w;
};

constexpr InputPixel kNowhere = {0, -(1 << 30), 0};  // so far outside that no tap leads into the image

// Rows that are pixels under tap (0, 0), with the depth inside: (tap, tap, channel).
template <class Operand, int kBytes>
struct PixelRows {
  using T = typename Operand::Element;
  using Copies = DepthCopies<Operand, kBytes>;

  const T* image;                      // at this group's channels
  std::int64_t pixel[Copies::kLines];  // of each row
  std::int32_t h[Copies::kLines], w[Copies::kLines];

  // pixel_of(row of the tile): an InputPixel, or kNowhere
  template <class PixelOf>
  FASTCONV_DEVICE PixelRows(const T* group, const TapWindow& window, const PixelOf& pixel_of) : image(group) {
    FASTCONV_UNROLL_ON_GPU
    for (int i = 0; i < Copies::kLines; ++i) {
      const InputPixel at = pixel_of(Copies::line(i));
      pixel[i] = ((static_cast<std::int64_t>(at.n) * window.height + at.h) * window.width + at.w) * window.channels;
      h[i] = at.h, w[i] = at.w;
    }
  }

  static FASTCONV_DEVICE bool inside(const TapWindow& window, std::int32_t h, std::int32_t w) {
    return static_cast<std::uint32_t>(h) < static_cast<std::uint32_t>(window.height) &&
           static_cast<std::uint32_t>(w) < static_cast<std::uint32_t>(window.width);
  }

  FASTCONV_DEVICE void copy(const TapWindow& window, unsigned char* slab, std::int32_t depth) const {
    const std::int32_t position = depth + Copies::piece() * kPieceElements<T>;
    unsigned char* const to = slab + Operand::place(Copies::line(0), Copies::piece());
    if constexpr (Copies::kWhole) {
      const Tap tap = Tap::at(position, window.by_channels, window.by_taps_w);
      const bool exists = position < window.depth;  // the last slab may reach beyond the last tap
      const std::int32_t down = tap.kh * window.step_h, right = tap.kw * window.step_w;
      const std::int64_t at_tap = (static_cast<std::int64_t>(down) * window.width + right) * window.channels + tap.c;
      FASTCONV_UNROLL_ON_GPU
      for (int i = 0; i < Copies::kLines; ++i) {
        const bool reads = exists && inside(window, h[i] + down, w[i] + right);
        cp_async<kPieceBytes>(to + i * Operand::kApart, image + (reads ? pixel[i] + at_tap : 0), reads);
      }
    } else {
      FASTCONV_UNROLL_BY(1)
      for (int n = 0; n < Operand::kCopies; ++n) {
        std::int32_t deep = position + n * kPieceElements<T>;
        Tap tap = Tap::at(deep, window.by_channels, window.by_taps_w);
        copy_elements(slab + Operand::place(Copies::line(0), Copies::piece() + n), image, [&](int) -> std::int64_t {
          const std::int32_t down = tap.kh * window.step_h, right = tap.kw * window.step_w;
          const bool reads = deep < window.depth && inside(window, h[0] + down, w[0] + right);
          const std::int64_t at =
              pixel[0] + (static_cast<std::int64_t>(down) * window.width + right) * window.channels + tap.c;
          ++deep, tap.next(window.group_channels, window.taps_w);
          return reads ? at : -1;
        });
      }
    }
  }
};

}  // namespace cuda
}  // namespace fastconv
