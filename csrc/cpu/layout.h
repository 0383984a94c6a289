// Layout changes, and the scratch copies by which a channels-last driver serves channels-first callers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/layout.h"
#include "core/window.h"
#include "cpu/scratch.h"

namespace fastconv {

template <class T>
void nchw_to_nhwc(const Shape4& shape, const T* input, T* output);
template <class T>
void nhwc_to_nchw(const Shape4& shape, const T* input, T* output);

// With one channel, or one pixel, both layouts are the same bytes.
inline bool layouts_coincide(const Shape4& s) { return s[1] == 1 || s[2] * s[3] == 1; }
inline bool needs_conversion(const Shape4& shape, Layout layout) {
  return layout == Layout::nchw && !layouts_coincide(shape);
}
std::size_t element_count(const Shape4& shape);

// A channels-last view of an input: the caller's memory, or a converted copy.
template <class T>
class ChannelsLastInput {
 public:
  ChannelsLastInput(const Shape4& shape, Layout layout, const T* data)
      : copy_(needs_conversion(shape, layout) ? element_count(shape) * sizeof(T) : 0),
        data_(needs_conversion(shape, layout) ? copy_.template as<T>() : data) {
    if (data_ != data) nchw_to_nhwc(shape, data, copy_.template as<T>());
  }
  const T* data() const { return data_; }

 private:
  Scratch copy_;
  const T* data_;
};

// A channels-last place for an output; finish() brings it to the caller's layout.
template <class T>
class ChannelsLastOutput {
 public:
  ChannelsLastOutput(const Shape4& shape, Layout layout, T* target)
      : shape_(shape), copy_(needs_conversion(shape, layout) ? element_count(shape) * sizeof(T) : 0), target_(target) {}
  T* data() const { return copy_.template as<T>() ? copy_.template as<T>() : target_; }
  void finish() const {
    if (copy_.template as<T>()) nhwc_to_nchw(shape_, copy_.template as<T>(), target_);
  }

 private:
  Shape4 shape_;
  Scratch copy_;
  T* target_;
};

}  // namespace fastconv
