// Optimiser steps on the CPU: one pass, in place on the parameter and its state.
#pragma once

#include "cpu/kernels/elementwise_kernels.h"

namespace fastconv {

template <class T>
void sgd_step(const SgdArgs<T>& args);
template <class T>
void rmsprop_step(const RmspropArgs<T>& args);
template <class T>
void adam_step(const AdamArgs<T>& args);

}  // namespace fastconv
