// A task is one output row: its input rows are added with their weights in a stage, then the stage's columns. What
// memory gives is the limit, not arithmetic, so these loops are left to the compiler and the baseline instruction set.
// Both passes are this one function, since the transpose of such a map is such a map.
#include "cpu/resample2d.h"

#include <algorithm>

#include "core/checked_math.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

// to = the weighted sum of `count` runs of `elements`, `step` apart.
template <class T>
void weighted_sum(const T* from, std::int64_t step, const double* weight, std::int64_t count, std::int64_t elements,
                  T* __restrict to) {
  if (count == 1 && *weight == 1) {
    std::copy_n(from, elements, to);
    return;
  }
  if (count == 0) {
    std::fill_n(to, elements, T(0));
    return;
  }
  const T first = static_cast<T>(weight[0]), second = count > 1 ? static_cast<T>(weight[1]) : T(0);
  if (count == 1)
    for (std::int64_t e = 0; e < elements; ++e) to[e] = first * from[e];
  else
    for (std::int64_t e = 0; e < elements; ++e) to[e] = first * from[e] + second * from[step + e];
  for (std::int64_t k = 2; k < count; ++k) {
    const T* more = from + k * step;
    const T w = static_cast<T>(weight[k]);
    for (std::int64_t e = 0; e < elements; ++e) to[e] += w * more[e];
  }
}

// In planes a pixel is one element: no loop over channels.
template <class T>
void plane_columns(const AxisMap& columns, const T* row, T* to) {
  for (std::int64_t o = 0; o < columns.out; ++o) {
    const auto at = static_cast<std::size_t>(o);
    const double* weight = columns.weight.data() + columns.start[at];
    const T* from = row + columns.first[at];
    const std::int64_t count = columns.count(o);
    T sum = count == 0 ? T(0) : static_cast<T>(weight[0]) * from[0];
    for (std::int64_t k = 1; k < count; ++k) sum += static_cast<T>(weight[k]) * from[k];
    to[o] = sum;
  }
}

template <class T>
void apply(const AxisMap& rows, const AxisMap& columns, const Shape4& shape, const T* from, T* to, Layout layout) {
  const bool planes = layout == Layout::nchw;
  const std::int64_t images = planes ? shape[0] * shape[1] : shape[0], pixel = planes ? 1 : shape[1];
  const std::int64_t from_row = columns.in * pixel, to_row = columns.out * pixel;
  const double elements = static_cast<double>(rows.in) * static_cast<double>(from_row) +
                          static_cast<double>(rows.out) * static_cast<double>(to_row);
  const int threads = threads_for_bytes(static_cast<double>(images) * elements * sizeof(T));
  const std::int64_t pitch = round_up(from_row * static_cast<std::int64_t>(sizeof(T)), kAlignment);
  const Scratch stages(static_cast<std::size_t>(pitch * threads));
  parallel_for(images * rows.out, threads, [&](std::int64_t task, int thread) {
    const auto o = static_cast<std::size_t>(task % rows.out);
    const T* image = from + task / rows.out * rows.in * from_row;
    const double* weight = rows.weight.data() + rows.start[o];
    const std::int64_t count = rows.count(task % rows.out);
    const T* row = image + rows.first[o] * from_row;
    if (count != 1 || *weight != 1) {
      T* stage = reinterpret_cast<T*>(stages.as<char>() + thread * pitch);
      weighted_sum(row, from_row, weight, count, from_row, stage);
      row = stage;
    }
    T* out = to + task * to_row;
    if (pixel == 1) return plane_columns(columns, row, out);
    for (std::int64_t x = 0; x < columns.out; ++x) {
      const auto at = static_cast<std::size_t>(x);
      weighted_sum(row + columns.first[at] * pixel, pixel, columns.weight.data() + columns.start[at], columns.count(x),
                   pixel, out + x * pixel);
    }
  });
}

}  // namespace

template <class T>
void resample2d_forward(const Resample2dShape& s, const T* input, T* output, Layout layout) {
  apply(s.rows, s.columns, s.input_shape(), input, output, layout);
}

template <class T>
void resample2d_backward(const Resample2dShape& s, const T* grad_output, T* grad_input, Layout layout) {
  apply(s.rows_back, s.columns_back, s.input_shape(), grad_output, grad_input, layout);
}

template <class T>
void resample2d_max(const Resample2dShape& s, const T* input, T* output, std::int32_t* indices, Layout layout) {
  const bool planes = layout == Layout::nchw;
  const std::int64_t images = planes ? s.n * s.c : s.n, pixel = planes ? 1 : s.c;
  const double taps = static_cast<double>(s.rows.weight.size()) * static_cast<double>(s.columns.weight.size());
  parallel_for(images * s.oh, threads_for(2.0 * static_cast<double>(images * pixel) * taps),
               [&](std::int64_t task, int) {
                 const std::int64_t oh = task % s.oh, top = s.rows.first[static_cast<std::size_t>(oh)];
                 const T* image = input + task / s.oh * s.ih * s.iw * pixel;
                 for (std::int64_t ow = 0; ow < s.ow; ++ow) {
                   const std::int64_t left = s.columns.first[static_cast<std::size_t>(ow)];
                   T* best = output + (task * s.ow + ow) * pixel;
                   std::int32_t* place = indices + (task * s.ow + ow) * pixel;
                   std::copy_n(image + (top * s.iw + left) * pixel, pixel, best);
                   std::fill_n(place, pixel, static_cast<std::int32_t>(top * s.iw + left));
                   for (std::int64_t ih = top; ih < top + s.rows.count(oh); ++ih)
                     for (std::int64_t iw = left; iw < left + s.columns.count(ow); ++iw) {
                       const T* x = image + (ih * s.iw + iw) * pixel;
                       const auto here = static_cast<std::int32_t>(ih * s.iw + iw);
                       for (std::int64_t c = 0; c < pixel; ++c) {
                         const bool wins = x[c] > best[c] || (x[c] != x[c] && best[c] == best[c]);
                         place[c] = wins ? here : place[c];
                         best[c] = wins ? x[c] : best[c];
                       }
                     }
                 }
               });
}

template void resample2d_forward(const Resample2dShape&, const float*, float*, Layout);
template void resample2d_forward(const Resample2dShape&, const double*, double*, Layout);
template void resample2d_backward(const Resample2dShape&, const float*, float*, Layout);
template void resample2d_backward(const Resample2dShape&, const double*, double*, Layout);
template void resample2d_max(const Resample2dShape&, const float*, float*, std::int32_t*, Layout);
template void resample2d_max(const Resample2dShape&, const double*, double*, std::int32_t*, Layout);

}  // namespace fastconv
