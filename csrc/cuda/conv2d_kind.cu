#include "cuda/conv2d_kind.h"

#include "cuda/depthwise_conv2d_choice.h"

namespace fastconv {
namespace cuda {

std::string explain_conv2d_kind(const Conv2dShape& s) {
  if (conv2d_kind(s) == Conv2dKind::general) return "general: an implicit matrix product";
  if (conv2d_kind(s) == Conv2dKind::stem)
    return "stem: " + std::to_string(s.ic) + " channels; a tile of the image and its filters fit shared memory, in " +
           std::to_string(stem_conv2d_shared_bytes(s)) + " bytes; the gradient of the input is general";
  std::string text = "depthwise: every output channel reads one input channel, so that there is no sum over channels";
  text += depthwise_unrolled(s)
              ? "; loops written out for this filter and stride"
              : "; loops for any filter, since it is not 3x3 or 5x5 with stride 1 or 2 and no dilation";
  text += depthwise_in_fours(s)
              ? "; 4 channels in an access"
              : "; one channel in an access, since C % 4 != 0 or outputs are a multiple of the inputs";
  return text;
}

}  // namespace cuda
}  // namespace fastconv
