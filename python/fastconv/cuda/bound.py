"""The functions of `_core` on CuPy arrays, by the same names and with the same arguments: each returns a call.

The arrays' addresses are looked up once, here; whoever holds a call holds its arrays too. A call reads nothing but the
stream and the scratch of its device, asks CuPy for nothing and never waits, so that it may be captured in a graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastconv.cuda.device import CudaDevice

Call = Callable[[], object]
_TABLE = (np.int32, np.int32, np.float32)  # first, start and weight of a map


def _at(array: Any) -> int:
    """Where a contiguous array begins; a weight (O, C, H, W) lies as (O, H, W, C)."""
    return 0 if array is None else int(array.data.ptr)


def _rows_of(matrix: Any) -> tuple[int, int]:
    """A matrix (N, F), or an array (N, H, W, C), as rows by columns."""
    columns = int(matrix.shape[-1])
    return int(matrix.size) // max(columns, 1), columns


class Bound:
    """Calls for one device; see `fastconv._core` for what each computes. Images are (N, H, W, C)."""

    def __init__(self, device: CudaDevice) -> None:
        self._device, self._module = device, device.module
        self._types = {"dtype": "float32", "precision": device.precision or "ieee"}

    def _call(self, name: str, *arguments: Any, **options: Any) -> Call:
        function, device = getattr(self._module, name), self._device
        return lambda: function(*arguments, **options, stream=device.stream)

    def _call_with_scratch(self, nbytes: int, name: str, before: tuple[Any, ...], **options: Any) -> Call:
        """A call whose last arguments are its workspace and the workspace's bytes."""
        function, device = getattr(self._module, name), self._device
        device.reserve_scratch(nbytes)
        return lambda: function(*before, device.scratch if nbytes else 0, nbytes, **options, stream=device.stream)

    def _call_with_workspace(self, nbytes: int, name: str, *arguments: Any, **options: Any) -> Call:
        """As `_call_with_scratch`, for functions that name it and can do without."""
        if not nbytes:
            return self._call(name, *arguments, **options)
        function, device = getattr(self._module, name), self._device
        device.reserve_scratch(nbytes)
        return lambda: function(
            *arguments, **options, workspace=device.scratch, workspace_bytes=nbytes, stream=device.stream
        )

    # Convolution

    def _conv2d(self, shape: Any) -> Any:
        return self._module.Conv2dShape(
            shape.input_shape, shape.weight_shape, shape.stride, shape.padding, shape.dilation, shape.groups
        )

    def _dense(self, rows: int, inputs: int, outputs: int) -> Any:
        """A dense layer is a convolution of one pixel: no cuBLAS, which graphs refuse."""
        sides = ((0, 0), (0, 0))
        return self._module.Conv2dShape(
            (rows, inputs, 1, 1), (outputs, inputs, 1, 1), (1, 1), sides, (1, 1), 1, "linear"
        )

    def _forward(self, shape: Any, input: Any, weight: Any, bias: Any, output: Any, activation: str) -> Call:
        nbytes = self._module.conv2d_forward_workspace_bytes(shape, **self._types)
        return self._call_with_workspace(
            nbytes, "conv2d_forward_mma", shape, _at(input), _at(weight), _at(bias), _at(output),
            **self._types, relu=activation == "relu",
        )  # fmt: skip

    def _backward_input(self, shape: Any, weight: Any, grad_output: Any, grad_input: Any) -> Call:
        arrays = _at(weight), _at(grad_output), 0, _at(grad_input)
        nbytes = self._module.conv2d_backward_input_workspace_bytes(shape, **self._types)
        return self._call_with_workspace(nbytes, "conv2d_backward_input", shape, *arrays, **self._types)

    def _backward_weight(self, shape: Any, input: Any, grad: Any, into: Any, accumulate: bool) -> Call:
        nbytes = self._module.conv2d_backward_weight_workspace_bytes(shape, **self._types)
        before = (shape, _at(input), _at(grad), _at(into))
        options = {**self._types, "accumulate": accumulate}
        return self._call_with_scratch(nbytes, "conv2d_backward_weight", before, **options)

    def conv2d_forward(
        self, shape: Any, input: Any, weight: Any, bias: Any, output: Any, *, activation: str = "none", **_: Any
    ) -> Call:
        return self._forward(self._conv2d(shape), input, weight, bias, output, activation)

    def conv2d_backward_input(self, shape: Any, weight: Any, grad_output: Any, grad_input: Any, **_: Any) -> Call:
        return self._backward_input(self._conv2d(shape), weight, grad_output, grad_input)

    def conv2d_backward_weight(
        self, shape: Any, input: Any, grad_output: Any, grad_weight: Any, *, accumulate: bool = False, **_: Any
    ) -> Call:
        return self._backward_weight(self._conv2d(shape), input, grad_output, grad_weight, accumulate)

    def conv2d_backward_bias(self, grad_output: Any, grad_bias: Any, *, accumulate: bool = False, **_: Any) -> Call:
        pixels, channels = _rows_of(grad_output)
        nbytes = self._module.conv2d_backward_bias_workspace_bytes(pixels, channels)
        before = (pixels, channels, _at(grad_output), 0, 0, _at(grad_bias))
        return self._call_with_scratch(nbytes, "conv2d_backward_bias", before, accumulate=accumulate)

    def conv_transpose2d_forward(
        self, shape: Any, input: Any, weight: Any, bias: Any, output: Any, *, activation: str = "none", **_: Any
    ) -> Call:
        """The gradient of a convolution's input; bias and ReLU in a pass of their own."""
        spread = self.conv2d_backward_input(shape, weight, input, output)
        if bias is None and activation != "relu":
            return spread
        after = self.relu_forward(output, output) if bias is None else self.add_bias(output, bias, output, activation)

        def run() -> None:
            spread()
            after()

        return run

    def conv2d_scratch(self, shape: Any, with_backward: bool, transposed: bool = False) -> int:
        """Bytes of workspace of a layer's passes; `transposed`: forward is the gradient of the input."""
        module, geometry = self._module, self._conv2d(shape)
        forward: int = module.conv2d_forward_workspace_bytes(geometry, **self._types)
        image: int = module.conv2d_backward_input_workspace_bytes(geometry, **self._types)
        if not with_backward:
            return image if transposed else forward
        n, channels, height, width = shape.input_shape if transposed else shape.output_shape
        bias: int = module.conv2d_backward_bias_workspace_bytes(n * height * width, channels)
        weight: int = module.conv2d_backward_weight_workspace_bytes(geometry, **self._types)
        return max(forward, image, bias, weight)

    # Dense layers

    def linear_forward(self, input: Any, weight: Any, bias: Any, output: Any, *, activation: str = "none") -> Call:
        outputs, inputs = weight.shape
        return self._forward(self._dense(input.shape[0], inputs, outputs), input, weight, bias, output, activation)

    def linear_backward_input(self, weight: Any, grad_output: Any, grad_input: Any) -> Call:
        outputs, inputs = weight.shape
        shape = self._dense(grad_output.shape[0], inputs, outputs)
        return self._backward_input(shape, weight, grad_output, grad_input)

    def linear_backward_weight(
        self, input: Any, grad_output: Any, grad_weight: Any, *, accumulate: bool = False
    ) -> Call:
        outputs, inputs = grad_weight.shape
        shape = self._dense(input.shape[0], inputs, outputs)
        return self._backward_weight(shape, input, grad_output, grad_weight, accumulate)

    def linear_backward_bias(self, grad_output: Any, grad_bias: Any, *, accumulate: bool = False) -> Call:
        return self.conv2d_backward_bias(grad_output, grad_bias, accumulate=accumulate)

    # Pooling

    def _pool2d(self, shape: Any) -> Any:
        return self._module.Pool2dShape(
            shape.input_shape, shape.kernel_size, shape.stride, shape.padding, shape.dilation, shape.ceil_mode
        )

    def max_pool2d_forward(
        self, shape: Any, input: Any, output: Any, indices: Any, *, positive_only: bool = False, **_: Any
    ) -> Call:
        return self._call(
            "max_pool2d_forward", self._pool2d(shape), _at(input), _at(output), **_places(indices),
            positive_only=positive_only,
        )  # fmt: skip

    def max_pool2d_backward(self, shape: Any, grad_output: Any, indices: Any, grad_input: Any, **_: Any) -> Call:
        return self._call(
            "max_pool2d_backward", self._pool2d(shape), _at(grad_output), **_places(indices), grad_input=_at(grad_input)
        )

    def avg_pool2d_forward(
        self,
        shape: Any,
        input: Any,
        output: Any,
        *,
        count_include_pad: bool = True,
        divisor_override: int = 0,
        **_: Any,
    ) -> Call:
        options = {"count_include_pad": count_include_pad, "divisor_override": divisor_override}
        return self._call("avg_pool2d_forward", self._pool2d(shape), _at(input), _at(output), **options)

    def avg_pool2d_backward(
        self,
        shape: Any,
        grad_output: Any,
        grad_input: Any,
        *,
        count_include_pad: bool = True,
        divisor_override: int = 0,
        **_: Any,
    ) -> Call:
        options = {"count_include_pad": count_include_pad, "divisor_override": divisor_override}
        return self._call("avg_pool2d_backward", self._pool2d(shape), _at(grad_output), _at(grad_input), **options)

    # Norms; `groups` 0 is batch norm, -1 layer norm: the one group of rows (N, F), whose features are its channels

    def norm_scratch(self, shape: tuple[int, ...]) -> int:
        return int(self._module.batch_norm_workspace_bytes(math.prod(shape[:-1]), shape[-1]))

    def norm_forward(
        self, input: Any, weight: Any, bias: Any, output: Any, stats: Any, *, running_mean: Any = None,
        running_var: Any = None, training: bool = True, momentum: float = 0.1, eps: float, activation: str = "none",
        groups: int = 0, **_: Any,
    ) -> Call:  # fmt: skip
        if groups:
            arrays = [_at(array) for array in (input, weight, bias, output, stats)]
            options: Any = {"eps": eps, "relu": activation == "relu"}
            return self._call("group_norm_forward", *arrays, *_pixels_of(input), abs(groups), **options)
        rows, columns = _rows_of(input)
        arrays = [_at(array) for array in (input, weight, bias, output, stats, running_mean, running_var)]
        options = {"training": training, "momentum": momentum, "eps": eps, "relu": activation == "relu"}
        nbytes = self.norm_scratch(input.shape)
        return self._call_with_scratch(nbytes, "batch_norm_forward", (*arrays, rows, columns), **options)

    def norm_backward(
        self, grad_output: Any, input: Any, stats: Any, weight: Any, bias: Any, grad_input: Any, grad_weight: Any,
        grad_bias: Any, *, training: bool = True, activation: str = "none", accumulate: bool, groups: int = 0, **_: Any,
    ) -> Call:  # fmt: skip
        rows, columns = _rows_of(input)
        given = grad_output, input, stats, weight, bias, grad_input, grad_weight, grad_bias
        arrays = [_at(array) for array in given]
        if groups:
            before = (*arrays, *_pixels_of(input), abs(groups))
            options: Any = {"relu": activation == "relu", "accumulate": accumulate}
            return self._call_with_scratch(self.norm_scratch(input.shape), "group_norm_backward", before, **options)
        options = {"training": training, "relu": activation == "relu", "accumulate": accumulate}
        nbytes = self.norm_scratch(input.shape)
        return self._call_with_scratch(nbytes, "batch_norm_backward", (*arrays, rows, columns), **options)

    def local_response_norm(
        self, input: Any, grad_output: Any, output: Any, *, size: int, alpha: float, beta: float, k: float, **_: Any
    ) -> Call:
        arrays = _at(input), _at(grad_output), _at(output)
        return self._call("local_response_norm", *arrays, *_rows_of(input), size=size, alpha=alpha, beta=beta, k=k)

    def norm_power(self, step: str, input: Any, saved: Any, output: Any, p: float) -> Call:
        """What Lp pooling does around a sum pooling."""
        return self._call("norm_power", step, _at(input), _at(saved), _at(output), input.size, p=p)

    def resample2d_max(self, shape: Any, input: Any, output: Any, places: Any, **_: Any) -> Call:
        return self._adaptive_max(input, output, places, input, output, backward=False)

    def resample2d_max_backward(self, grad_output: Any, places: Any, grad_input: Any) -> Call:
        return self._adaptive_max(grad_output, grad_input, places, grad_input, grad_output, backward=True)

    def _adaptive_max(self, source: Any, target: Any, places: Any, large: Any, less: Any, backward: bool) -> Call:
        arrays = _at(source), _at(target), _at(places)
        return self._call("adaptive_max_pool2d", *arrays, tuple(large.shape), tuple(less.shape[1:3]), backward=backward)

    def scatter_planes(self, values: Any, places: Any, planes: Any, **_: Any) -> Call:
        return self._planes("scatter_planes", values, places, planes)

    def gather_planes(self, planes: Any, places: Any, values: Any, **_: Any) -> Call:
        return self._planes("gather_planes", values, places, planes)

    def _planes(self, name: str, values: Any, places: Any, planes: Any) -> Call:
        n, height, width, channels = planes.shape
        sizes = n, channels, math.prod(values.shape[1:3]), height * width
        return self._call(name, _at(values), _at(places), _at(planes), *sizes)

    # Borders that repeat pixels, and pixels made of channels

    def pad2d(self, image: Any, padded: Any, padding: Any, mode: str) -> Call:
        return self._call("pad2d", _at(image), _at(padded), tuple(image.shape), *padding, mode=mode, backward=False)

    def pad2d_backward(self, grad_padded: Any, grad_image: Any, padding: Any, mode: str) -> Call:
        arrays = _at(grad_padded), _at(grad_image)
        return self._call("pad2d", *arrays, tuple(grad_image.shape), *padding, mode=mode, backward=True)

    def pixel_shuffle(self, few: Any, many: Any, factor: int, back: bool) -> Call:
        n, height, width, channels = few.shape
        shape = n, height, width, channels // factor**2
        return self._call("pixel_shuffle", _at(few), _at(many), shape, factor, back=back)

    # Resampling; `shape` is what `Resize.arguments` gives: of `resample2d_tables` all but the last

    def resample2d_forward(self, shape: Any, input: Any, output: Any, **_: Any) -> Call:
        return self._resample2d(shape, input, output, backward=False)

    def resample2d_backward(self, shape: Any, grad_output: Any, grad_input: Any, **_: Any) -> Call:
        return self._resample2d(shape, grad_output, grad_input, backward=True)

    def _resample2d(self, shape: Any, source: Any, target: Any, backward: bool) -> Call:
        """The maps of rows and columns are tables on the device, made here and held by the call."""
        tables = [
            [self._device.constant(np.frombuffer(values, dtype)) for values, dtype in zip(axis, _TABLE, strict=True)]
            for axis in self._module.resample2d_tables(*shape, backward)
        ]
        rows, columns = ([_at(values) for values in axis] for axis in tables)
        n, height, width, channels = source.shape
        size = tuple(target.shape[1:3])
        run = self._call("resample2d", _at(source), _at(target), (n, height, width, channels), size, rows, columns)
        return _holding(run, tables)

    # Element by element

    def activation_forward(self, function: str, input: Any, output: Any, *, a: float = 0.0, b: float = 0.0) -> Call:
        return self._call("activation_forward", function, _at(input), _at(output), input.size, a=a, b=b)

    def activation_backward(
        self, function: str, grad_output: Any, saved: Any, grad_input: Any, *, a: float = 0.0, b: float = 0.0
    ) -> Call:
        arrays = _at(grad_output), _at(saved), _at(grad_input)
        return self._call("activation_backward", function, *arrays, saved.size, a=a, b=b)

    def _combine(self, a: Any, b: Any, output: Any, multiply: bool) -> Call:
        options = {"multiply": multiply, "spread": a.shape != b.shape}
        return self._call("combine", _at(a), _at(b), _at(output), *_pixels_of(a), **options)

    def multiply(self, a: Any, b: Any, output: Any) -> Call:
        """a * b, where b may be one number for all pixels of a channel."""
        return self._combine(a, b, output, multiply=True)

    def add_spread(self, a: Any, b: Any, output: Any) -> Call:
        """a + b alike."""
        return self._combine(a, b, output, multiply=False)

    def sinusoidal_embedding(self, positions: Any, frequency: Any, output: Any) -> Call:
        """`frequency` comes from the host."""
        held = self._device.constant(frequency)
        arrays = _at(positions), _at(held), _at(output)
        return _holding(self._call("sinusoidal_embedding", *arrays, len(positions), len(frequency)), held)

    def sinusoidal_embedding_backward(self, grad_output: Any, output: Any, frequency: Any, grad_positions: Any) -> Call:
        held = self._device.constant(frequency)
        arrays = _at(grad_output), _at(output), _at(held), _at(grad_positions)
        return _holding(self._call("sinusoidal_embedding_backward", *arrays, len(output), len(frequency)), held)

    def scale(self, array: Any, factor: float) -> Call:
        """array *= factor."""
        return self.activation_forward("scale", array, array, a=factor)

    def add_bias(self, input: Any, bias: Any, output: Any, activation: str = "none") -> Call:
        rows, columns = _rows_of(input)
        return self._call("add_bias", _at(input), _at(bias), _at(output), rows, columns, relu=activation == "relu")

    def softmax_forward(self, input: Any, output: Any) -> Call:
        """Of rows, or of (outer, classes, inner) over the classes."""
        if len(input.shape) == 3:
            return self._call("softmax_columns", _at(input), 0, _at(output), *input.shape)
        return self._call("softmax_forward", _at(input), _at(output), *_rows_of(input))

    def softmax_backward(self, grad_output: Any, output: Any, grad_input: Any) -> Call:
        arrays = _at(grad_output), _at(output), _at(grad_input)
        if len(output.shape) == 3:
            return self._call("softmax_columns", *arrays, *output.shape)
        return self._call("softmax_backward", *arrays, *_rows_of(output))

    def relu_forward(self, input: Any, output: Any) -> Call:
        return self._call("relu_forward", _at(input), _at(output), 0, input.size)

    def relu_backward(self, grad_output: Any, output: Any, grad_input: Any) -> Call:
        return self._call("relu_backward_output", _at(grad_output), _at(output), _at(grad_input), output.size)

    def add(self, a: Any, b: Any, output: Any) -> Call:
        return self._call("add", _at(a), _at(b), _at(output), output.size)

    def fill(self, array: Any, value: float) -> Call:
        """Of an array that lies without gaps, in any order of its axes."""
        return self._call("fill", _at(array), value, array.size)

    def copy(self, output: Any, input: Any) -> Call:
        """Of two arrays of one shape, each of which may be a part of a larger one."""
        if _at(input) == _at(output):  # a layer that works in place
            return lambda: None
        if input.flags.c_contiguous and output.flags.c_contiguous:
            return self._call("copy", _at(input), _at(output), input.size)
        shape, *steps = _as_images(input, output)
        return self._call("strided_copy", _at(input), _at(output), shape, *steps)

    def dropout(self, input: Any, output: Any, p: float, seed: int) -> Call:
        """What falls follows from `seed` and the device's counter: backward is the same call."""
        counter = self._device.dropout_counter
        return self._call(
            "dropout", _at(input), _at(output), input.size, p=p, seed=seed, offset=0, counter=_at(counter)
        )

    def dropout2d(self, input: Any, output: Any, p: float, seed: int) -> Call:
        n, height, width, channels = input.shape
        options = {"p": p, "seed": seed, "offset": 0, "counter": _at(self._device.dropout_counter)}
        return self._call("dropout2d", _at(input), _at(output), n, height * width, channels, **options)

    def nchw_to_nhwc(self, input: Any, output: Any) -> Call:
        n, c, h, w = input.shape
        return self._call("transpose", _at(input), _at(output), 4, n, c, h * w)

    def nhwc_to_nchw(self, input: Any, output: Any) -> Call:
        n, h, w, c = input.shape
        return self._call("transpose", _at(input), _at(output), 4, n, h * w, c)

    # Losses

    def pair_loss_scratch(self, count: int) -> int:
        return int(self._module.pair_loss_workspace_bytes(count))

    def pair_loss(self, kind: str, input: Any, target: Any, grad: Any, loss: Any, **options: Any) -> Call:
        before = kind, _at(input), _at(target), _at(grad), input.size
        return self._call_with_scratch(
            self.pair_loss_scratch(input.size), "pair_loss", before, loss=_at(loss), **options
        )

    def total_variation(self, input: Any, grad: Any, loss: Any, **options: Any) -> Call:
        before = _at(input), _at(grad), tuple(input.shape)
        return self._call_with_scratch(
            self.pair_loss_scratch(input.size), "total_variation", before, loss=_at(loss), **options
        )

    def gram_scratch(self, pixels: int, channels: int) -> int:
        """Of the Gram matrix of one image."""
        shape = self._dense(pixels, channels, channels)
        return int(self._module.conv2d_backward_weight_workspace_bytes(shape, **self._types))

    def softmax_cross_entropy(
        self, logits: Any, labels: Any, weight: Any, workspace: Any, loss: Any, grad: Any, **options: Any
    ) -> Call:
        rows, classes = _rows_of(logits)
        arrays = _at(workspace), _at(loss), _at(grad)
        return self._call(
            "softmax_cross_entropy", _at(logits), _at(labels), 8, _at(weight), rows, classes, *arrays, **options
        )


def _pixels_of(array: Any) -> tuple[int, int, int]:
    """Images (N, H, W, C), or rows (N, C), as N by pixels by channels."""
    shape = array.shape
    return int(shape[0]), math.prod(shape[1:-1]), int(shape[-1])


def _as_images(*arrays: Any) -> tuple[Any, ...]:
    """The shape (n, h, w, c) of arrays (..., c), and the steps of each in elements; rows are images of one pixel."""
    shape = arrays[0].shape
    if len(shape) == 2:
        return (1, 1, *shape), *((0, 0, array.strides[0] // array.itemsize) for array in arrays)
    return shape, *(tuple(stride // array.itemsize for stride in array.strides[:3]) for array in arrays)


def _holding(run: Call, memory: Any) -> Call:
    """The call, which keeps alive what it has only addresses of."""
    return lambda held=memory: run()  # type: ignore[misc]


def _places(indices: Any) -> dict[str, int]:
    """Where maxima were: tap numbers of one byte, or int32 indices."""
    taps = indices is not None and indices.dtype.itemsize == 1
    return {"taps": _at(indices) if taps else 0, "indices": 0 if taps else _at(indices)}
