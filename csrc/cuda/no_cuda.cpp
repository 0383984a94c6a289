// The stub that is linked where CUDA is absent or switched off, so that no caller needs an #ifdef.
#include "cuda/cuda_backend.h"

namespace fastconv {
namespace cuda {

bool built() { return false; }

const char* status() { return FASTCONV_CUDA_OFF_REASON; }

}  // namespace cuda
}  // namespace fastconv
