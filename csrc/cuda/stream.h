#pragma once

namespace fastconv {
namespace cuda {

using Stream = void*;  // a cudaStream_t, without the headers of CUDA; the emulator has none and works at once

}  // namespace cuda
}  // namespace fastconv
