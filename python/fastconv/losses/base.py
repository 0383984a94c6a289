"""Loss: what all losses share. Each is computed in one pass together with its gradient.

A loss declares what it reads (`target_buffer`, `buffers`), checks a target and copies it into place (`load_target`),
and binds itself to arrays as one call; the engine runs that call in every step, `loss(output, target)` runs it once.
4-D arrays lie channels-last inside, so that the classes of a pixel are neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastconv._checks import arguments
from fastconv._checks.arguments import Array

Shape: TypeAlias = tuple[int, ...]
Spec: TypeAlias = tuple[Shape, np.dtype[Any]]


class Loss:
    """Base of all losses; the mean over samples (and pixels).

    Attributes
    ----------
    name : str
    from_logits : bool
        Whether it takes the values before a softmax or sigmoid: a model that ends in that layer is trained on what goes
        into it.
    logits_of : str
        That layer's kind, "softmax" or "sigmoid".
    """

    name: ClassVar[str] = "loss"
    from_logits: bool = False
    logits_of: ClassVar[str] = ""
    runs_on_gpu: ClassVar[bool] = False  # `bind_on` knows CUDA kernels

    def target_buffer(self, output_shape: Shape, dtype: np.dtype[Any]) -> Spec:
        """Return shape and dtype of the array that `load_target` fills; `output_shape` is logical, with the batch."""
        raise NotImplementedError

    def buffers(self, output_shape: Shape, dtype: np.dtype[Any]) -> dict[str, Spec]:
        """Return the arrays wanted beside output, target and gradient."""
        return {}

    def load_target(self, target: NDArray[Any], output_shape: Shape, into: NDArray[Any], layout: str = "NCHW") -> None:
        """Check `target`, as the caller gave it, and copy it."""
        raise NotImplementedError

    def kernel_bytes(self, output_shape: Shape) -> int:
        """Return the bytes that the kernel borrows while it runs."""
        return 0

    def bind(
        self, output: Array, target: NDArray[Any], buffers: dict[str, NDArray[Any]], grad: Array | None
    ) -> Callable[[], float]:
        """Return a call that computes the loss and, where `grad` is an array, the gradient with respect to `output`."""
        raise NotImplementedError

    # On a GPU

    def buffers_on(self, device: Any, output_shape: Shape, dtype: np.dtype[Any]) -> dict[str, Spec]:
        """Return what `buffers` is on a device."""
        return self.gpu_buffers(output_shape) if device.on_gpu else self.buffers(output_shape, dtype)

    def gpu_buffers(self, output_shape: Shape) -> dict[str, Spec]:
        """Return the arrays that the CUDA kernels want beside output, target and gradient."""
        return {}

    def kernel_bytes_on(self, device: Any, output_shape: Shape) -> int:
        """Return what `kernel_bytes` is on a device."""
        return 0 if device.on_gpu else self.kernel_bytes(output_shape)

    def check_target(self, loaded: NDArray[Any], output_shape: Shape) -> None:
        """Refuse what the kernels on a GPU could not report without waiting; `load_target` has filled `loaded`."""

    def target_on_gpu(self, target: Any, output_shape: Shape, layout: str = "NCHW") -> Any:
        """Check a target that lies on the GPU, a `fastconv.cuda.arrays.View`; return it as the kernels read it.

        What its numbers are cannot be checked without waiting for them.
        """
        shape, dtype = self.target_buffer(output_shape, np.dtype(np.float32))
        images = len(shape) == 4
        outside = (shape[0], shape[-1], *shape[1:-1]) if images and layout == "NCHW" else shape
        if target.dtype != dtype.name:
            raise TypeError(f"{self.name}: target must be {dtype.name} on a GPU, got {target.dtype}")
        same = [outside] if images else [outside, (*outside, 1), *([outside[:1]] if outside[1:] == (1,) else [])]
        if target.shape not in same:
            raise ValueError(f"{self.name}: target must have shape {outside} on a GPU, got {target.shape}")
        inside = target.permuted(0, 2, 3, 1) if images and layout == "NCHW" else target
        if inside.contiguous and not images:
            return inside.reshaped(*shape)
        if not (inside.contiguous or target.contiguous):
            raise ValueError(
                f"{self.name}: target must be C-contiguous{' or channels-last' * images} on a GPU, got strides "
                f"{target.strides} (elements) for shape {target.shape}"
            )
        return inside

    def bind_on(
        self, device: Any, output: Any, target: Any, buffers: dict[str, Any], grad: Any, weight: float
    ) -> Callable[[], Any]:
        """Return a call as `bind` does: it gives the array of one number that takes the loss on the device.

        The gradient is that of `weight` times the loss.
        """
        raise RuntimeError(f"{self.name}: has no CUDA kernels yet")

    def __call__(self, output: Array, target: NDArray[Any]) -> float:
        """Return the loss of one batch: `output` (N, F) or (N, C, H, W), `target` as the loss takes it."""
        return self._run(output, target, False)[0]

    def with_grad(self, output: Array, target: NDArray[Any]) -> tuple[float, Array]:
        """Return the loss and its gradient with respect to `output`."""
        loss, grad = self._run(output, target, True)
        assert grad is not None
        return loss, grad

    def _run(self, output: Array, target: NDArray[Any], with_grad: bool) -> tuple[float, Array | None]:
        arguments.check_array(self.name, "output", output, None)
        shape = output.shape
        inside = arguments.contiguous(np.moveaxis(output, 1, -1) if output.ndim == 4 else output)
        place = np.empty(*self.target_buffer(shape, output.dtype))
        self.load_target(target, shape, place)
        buffers = {name: np.empty(*spec) for name, spec in self.buffers(shape, output.dtype).items()}
        grad = np.empty_like(inside) if with_grad else None
        loss = self.bind(inside, place, buffers, grad)()
        if grad is not None and output.ndim == 4:
            grad = np.ascontiguousarray(np.moveaxis(grad, -1, 1))
        return loss, grad

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def check_target(op: str, target: object) -> None:
    if type(target) not in (np.ndarray, np.memmap):
        raise TypeError(f"{op}: target must be a numpy.ndarray, got {arguments.describe(target)}; pass np.asarray(...)")
    assert isinstance(target, np.ndarray)
    if target.dtype.kind not in "biuf":
        raise TypeError(f"{op}: target must hold numbers, got {target.dtype}")


def memory_order(output_shape: Shape) -> Shape:
    """The shape inside, channels last, of a logical one."""
    return (output_shape[0], *output_shape[2:], output_shape[1]) if len(output_shape) == 4 else output_shape
