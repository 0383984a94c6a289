"""JAX: XLA's convolution in NHWC and HWIO, which its CPU backend likes best, compiled in advance."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from arrays import Array, Arrays
from rivals.rival import Rival
from shapes import Layer


class Jax(Rival):
    name = "jax"
    package = "jax"

    @classmethod
    def environment(cls, threads: int) -> dict[str, str]:
        flags = (
            f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'} intra_op_parallelism_threads={threads}"
        )
        return super().environment(threads) | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "NPROC": str(threads)}

    def __init__(self, layer: Layer, arrays: Arrays, threads: int) -> None:
        # XLA sizes its pool by the processors that this process may use.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        import jax

        jax.config.update("jax_enable_x64", arrays.input.dtype == np.float64)
        p, q = layer.padding

        def convolve(x: Any, w: Any) -> Any:
            return jax.lax.conv_general_dilated(
                x,
                w,
                layer.stride,
                ((p, p), (q, q)),
                rhs_dilation=layer.dilation,
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                feature_group_count=layer.groups,
            )

        x = jax.device_put(np.ascontiguousarray(arrays.input.transpose(0, 2, 3, 1)))
        w = jax.device_put(np.ascontiguousarray(arrays.weight.transpose(2, 3, 1, 0)))
        gy = jax.device_put(np.ascontiguousarray(arrays.grad_output.transpose(0, 2, 3, 1)))
        forward = jax.jit(convolve)
        to_input = jax.jit(lambda x, w, gy: jax.vjp(lambda x: convolve(x, w), x)[1](gy)[0])
        to_weight = jax.jit(lambda x, w, gy: jax.vjp(lambda w: convolve(x, w), w)[1](gy)[0])
        self.weight_shape = w.shape
        self.forward = lambda: forward(x, w).block_until_ready()
        self.backward_input = lambda: to_input(x, w, gy).block_until_ready()
        self.backward_weight = lambda: to_weight(x, w, gy).block_until_ready()

    def as_array(self, value: Any) -> Array:
        array = np.asarray(value)
        axes = (3, 2, 0, 1) if array.shape == self.weight_shape else (0, 3, 1, 2)
        return array.transpose(axes)
