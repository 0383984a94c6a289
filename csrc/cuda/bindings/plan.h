// A call that is judged: only addresses and the stream are missing.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "cuda/bindings/buffers.h"

namespace fastconv {
namespace cuda {

class Plan {
 public:
  using Run = std::function<void(const Address*, Stream)>;  // checks the addresses, releases the GIL, calls the driver

  Plan(int arrays, Run run) : arrays_(arrays), run_(std::move(run)) {}

  int arrays() const { return arrays_; }  // how many addresses `operator()` reads; 0 stands for one that is left out
  void operator()(const Address* addresses, Address stream) const { run_(addresses, as_stream(stream)); }

 private:
  int arrays_;
  Run run_;
};

}  // namespace cuda
}  // namespace fastconv
