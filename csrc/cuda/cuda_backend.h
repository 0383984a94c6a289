// What the rest of the library may ask of the CUDA side. Without a toolkit no_cuda.cpp is linked in its place.
#pragma once

namespace fastconv {
namespace cuda {

bool built();
const char* status();  // one sentence for people: why CUDA is on or off

}  // namespace cuda
}  // namespace fastconv
