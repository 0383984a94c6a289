// How 4-D data lies in memory: planes per channel, or channels last. Weights are always (OC, IC/groups, KH, KW).
#pragma once

namespace fastconv {

enum class Layout { nchw, nhwc };

}  // namespace fastconv
