"""Steps of the optimisers on a model's GPU: rate and step number lie on the device, written before a step begins.

So the same calls run at once or in a captured graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastconv.cuda.device import CudaDevice

_KEYS = 16  # different (beta1, beta2, decay) of one optimiser


class Steps:
    """The functions of `_core` on CuPy arrays; they go on the device's stream and allocate nothing after a first step.

    Attributes
    ----------
    rate : array of one float32
    numbers : array of int64
        The steps before this one, once for each set of factors that Adam needs: its kernel counts on.
    """

    def __init__(self, device: CudaDevice) -> None:
        self._device, self._module = device, device.module
        zeros = device.cupy.zeros
        self.rate = zeros(1, np.float32)
        self.numbers = zeros(_KEYS, np.int64)
        self._factors = zeros((_KEYS, 3), np.float32)
        self._keys: dict[tuple[float, float, float], int] = {}
        self._written: set[int] = set()
        self._squares: Any = None
        self._sums: Any = None

    def begin(self, optimizer: Any) -> None:
        """Write the optimiser's rate and number."""
        stream = self._device.stream
        self._module.fill(self.rate.data.ptr, optimizer.learning_rate, 1, stream=stream)
        self._module.fill_int64(self.numbers.data.ptr, optimizer.steps - 1, _KEYS, stream=stream)
        self.forget()

    def forget(self) -> None:
        """A step begins: no factors are written yet."""
        self._written.clear()

    def sgd_step(self, param: Any, grad: Any, velocity: Any, **options: Any) -> None:
        options["lr"] = 0.0
        self._module.sgd_step(
            _at(param), _at(grad), _at(velocity), _at(self.rate), param.size, **options, stream=self._device.stream
        )

    def rmsprop_step(
        self, param: Any, grad: Any, square_avg: Any, grad_avg: Any, velocity: Any, **options: Any
    ) -> None:
        options["lr"] = 0.0
        arrays = [_at(array) for array in (param, grad, square_avg, grad_avg, velocity, self.rate)]
        self._module.rmsprop_step(*arrays, param.size, **options, stream=self._device.stream)

    def adam_step(self, param: Any, grad: Any, exp_avg: Any, exp_avg_sq: Any, **options: Any) -> None:
        factors = self._factors_for(options["beta1"], options["beta2"], options["weight_decay"], options["decoupled"])
        options["lr"], options["step"] = 0.0, 1
        arrays = [_at(array) for array in (param, grad, exp_avg, exp_avg_sq)]
        self._module.adam_step(*arrays, factors, param.size, **options, stream=self._device.stream)

    def clip(self, grads: Sequence[Any], value: float | None, norm: float | None) -> None:
        """Clip gradients element by element, then all together by their norm; nothing comes to the host."""
        module, stream = self._module, self._device.stream
        if value is not None:
            for grad in grads:
                module.activation_forward("clip", _at(grad), _at(grad), grad.size, a=value, b=0.0, stream=stream)
        if norm is None:
            return
        if self._squares is None or self._squares.size < len(grads) + 1:
            most = max(module.pair_loss_workspace_bytes(grad.size) for grad in grads)
            self._squares = self._device.cupy.zeros(len(grads) + 1, np.float32)  # and the factor behind them
            self._sums = self._device.cupy.zeros(most // 8, np.float64)
        squares, sums = _at(self._squares), (_at(self._sums), self._sums.nbytes)
        factor = squares + 4 * len(grads)
        for place, grad in enumerate(grads):
            module.pair_loss(
                "squared", _at(grad), 0, 0, grad.size, *sums, squares + 4 * place,
                delta=0.0, grad_scale=1.0, loss_scale=1.0, stream=stream,
            )  # fmt: skip
        module.clip_factor(squares, len(grads), norm, factor, stream=stream)
        for grad in grads:
            module.multiply_by(_at(grad), factor, grad.size, stream=stream)

    def _factors_for(self, beta1: float, beta2: float, decay: float, decoupled: bool) -> int:
        """Address of what this step of Adam needs; computed by the first parameter that asks."""
        key = beta1, beta2, decay if decoupled else 0.0
        place = self._keys.setdefault(key, len(self._keys))
        if place >= _KEYS:
            raise RuntimeError(f"Adam: parameters must have at most {_KEYS} different weight decays on a GPU, got more")
        address = int(self._factors.data.ptr) + 12 * place
        if place not in self._written:
            self._written.add(place)
            self._module.adam_factors(
                int(self.numbers.data.ptr) + 8 * place,
                _at(self.rate),
                address,
                lr=0.0,
                beta1=beta1,
                beta2=beta2,
                decoupled_decay=key[2],
                stream=self._device.stream,
            )
        return address


def _at(array: Any) -> int:
    return 0 if array is None else int(array.data.ptr)
