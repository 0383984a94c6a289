"""What Sequential listings are made of. A layer here is a note of what was written; `make` gives those that compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from fastconv import nn
from fastconv._checks import arguments
from fastconv._checks.numbers import number
from fastconv.keras.utils import generator
from fastconv.nn import init
from fastconv.nn.frame import Shape

__all__ = [
    "Activation",
    "AveragePooling2D",
    "BatchNormalization",
    "Conv2D",
    "Convolution2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "Input",
    "InputLayer",
    "MaxPool2D",
    "MaxPooling2D",
]

_FORMATS = {"channels_last": "NHWC", "channels_first": "NCHW", "tf": "NHWC", "th": "NCHW"}
_ACTIVATIONS: dict[str, Callable[[], nn.Layer]] = {
    "elu": nn.ELU, "gelu": nn.GELU, "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "silu": nn.SiLU, "softmax": nn.Softmax,
    "softplus": nn.Softplus, "swish": nn.SiLU, "tanh": nn.Tanh,
}  # fmt: skip
_INITIALIZERS = {"glorot_uniform": init.glorot_uniform, "he_normal": init.he_normal}


def _choice(op: str, name: str, value: Any, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise ValueError(f"{op}: {name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return str(value)


def _layout(op: str, data_format: str | None) -> str | None:
    return None if data_format is None else _FORMATS[_choice(op, "data_format", data_format, [*_FORMATS])]


def _activation(op: str, name: str | None) -> list[nn.Layer]:
    if name is None or name == "linear":
        return []
    return [_ACTIVATIONS[_choice(op, "activation", name, [*_ACTIVATIONS, "linear"])]()]


class Layer:
    """Base: options that every layer takes.

    Parameters
    ----------
    name : str, optional
    input_shape : tuple of int, optional
        Shape of one sample, on a model's first layer: (H, W, C), (C, H, W) in channels-first models, or (F,).
    """

    kind: ClassVar[str] = "layer"
    layout: str | None = None  # None: as the rest of the model

    def __init__(self, *, name: str | None = None, input_shape: Sequence[int] | None = None) -> None:
        self.name = name
        self.input_shape = None if input_shape is None else tuple(input_shape)
        self._made: list[nn.Layer] | None = None

    def make(self, shape: Shape) -> list[nn.Layer]:
        """Return the layers for samples of `shape` (C, H, W) or (F,); always the same ones, so that weights last."""
        if self._made is None:
            self._made = self._make(shape)
            for layer in self._made:
                layer.build(shape)
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    layer.weight.data = _INITIALIZERS[self._initializer](layer.weight.shape, generator())
                shape = layer.infer_shape(shape)
        return self._made

    _initializer: str = "glorot_uniform"

    def check(self, shape: Shape, layout: str) -> None:
        """Refuse what does not fit samples of `shape` in a model of `layout`."""

    def _make(self, shape: Shape) -> list[nn.Layer]:
        raise NotImplementedError


class InputLayer(Layer):
    """The shape of one sample, by itself."""

    kind = "input"

    def _make(self, shape: Shape) -> list[nn.Layer]:
        return []


def Input(shape: Sequence[int], name: str | None = None) -> InputLayer:
    """First entry of a Sequential model that says the shape of one sample."""
    return InputLayer(name=name, input_shape=shape)


class Conv2D(Layer):
    """2-D convolution: `filters` of `kernel_size`; padding "valid" or "same"; see `fastconv.nn.Conv2d`."""

    kind = "conv2d"

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = (1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, int] = (1, 1),
        groups: int = 1,
        activation: str | None = None,
        use_bias: bool = True,
        kernel_initializer: str = "glorot_uniform",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.layout = _layout("Conv2D", data_format)
        self._initializer = _choice("Conv2D", "kernel_initializer", kernel_initializer, [*_INITIALIZERS])
        _choice("Conv2D", "padding", padding, ("valid", "same"))
        self._activation = _activation("Conv2D", activation)
        self._options: dict[str, Any] = {
            "out_channels": filters, "kernel_size": kernel_size, "stride": strides, "padding": padding,
            "dilation": dilation_rate, "groups": groups, "bias": use_bias, "name": self.name,
        }  # fmt: skip
        nn.Conv2d(None, **self._options)  # judges them now, where they are written

    def _make(self, shape: Shape) -> list[nn.Layer]:
        return [nn.Conv2d(None, **self._options), *self._activation]


def Convolution2D(
    nb_filter: int,
    nb_row: int | tuple[int, int],
    nb_col: int | None = None,
    *,
    subsample: tuple[int, int] = (1, 1),
    border_mode: str = "valid",
    dim_ordering: str = "th",
    bias: bool = True,
    **options: Any,
) -> Conv2D:
    """Older spelling: `nb_filter` filters of `nb_row` times `nb_col`, channels-first unless dim_ordering="tf".

    With a tuple for the window and no `nb_col` it is `Conv2D`.
    """
    if nb_col is None:
        return Conv2D(nb_filter, nb_row, **options)
    if isinstance(nb_row, tuple):
        raise ValueError(f"Convolution2D: nb_row must be an int beside nb_col={nb_col}, got {nb_row}")
    return Conv2D(nb_filter, (nb_row, nb_col), subsample, border_mode, dim_ordering, use_bias=bias, **options)


class _Pooling2D(Layer):
    def __init__(
        self,
        pool_size: int | tuple[int, int] = (2, 2),
        strides: int | tuple[int, int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        op = type(self).__name__
        self.layout = _layout(op, data_format)
        self._size = arguments.pair(op, "pool_size", pool_size)
        self._stride = self._size if strides is None else arguments.pair(op, "strides", strides)
        self._same = _choice(op, "padding", padding, ("valid", "same")) == "same"

    def _padding(self, shape: Shape) -> tuple[tuple[int, int], tuple[int, int]]:
        """Around (C, H, W): out = ceil(in / stride), the odd one at the end."""
        if not self._same or len(shape) != 3:
            return (0, 0), (0, 0)
        sides = []
        for size, window, stride in zip(shape[1:], self._size, self._stride, strict=True):
            total = max(0, (-(-size // stride) - 1) * stride + window - size)
            sides.append((total // 2, total - total // 2))
        return sides[0], sides[1]


class MaxPooling2D(_Pooling2D):
    """Maximum over windows, side by side unless `strides` are given."""

    kind = "max_pooling2d"

    def _make(self, shape: Shape) -> list[nn.Layer]:
        return [nn.MaxPool2d(self._size, self._stride, self._padding(shape), name=self.name)]


MaxPool2D = MaxPooling2D


class AveragePooling2D(_Pooling2D):
    """Average over windows; padding does not count."""

    kind = "average_pooling2d"

    def _make(self, shape: Shape) -> list[nn.Layer]:
        padding = self._padding(shape)
        return [nn.AvgPool2d(self._size, self._stride, padding, count_include_pad=False, name=self.name)]


class GlobalMaxPooling2D(Layer):
    """Maximum over the whole image."""

    kind = "global_max_pooling2d"

    def _make(self, shape: Shape) -> list[nn.Layer]:
        return [nn.GlobalMaxPool2d(name=self.name)]


class GlobalAveragePooling2D(Layer):
    """Average over the whole image."""

    kind = "global_average_pooling2d"

    def _make(self, shape: Shape) -> list[nn.Layer]:
        return [nn.GlobalAvgPool2d(name=self.name)]


class Flatten(Layer):
    """Images to vectors. In (C, H, W) order also of channels-last images, so the rows of a Dense layer behind it stand
    in another order than in Keras; trained results don't depend on it."""

    kind = "flatten"

    def _make(self, shape: Shape) -> list[nn.Layer]:
        return [nn.Flatten(name=self.name)]


class Dense(Layer):
    """Dense layer of `units`; `output_dim` is the older name, `input_dim` a short `input_shape`."""

    kind = "dense"

    def __init__(
        self,
        units: int | None = None,
        activation: str | None = None,
        use_bias: bool = True,
        kernel_initializer: str = "glorot_uniform",
        *,
        output_dim: int | None = None,
        input_dim: int | None = None,
        **options: Any,
    ) -> None:
        if input_dim is not None:
            options.setdefault("input_shape", (input_dim,))
        super().__init__(**options)
        if (units is None) == (output_dim is None):
            raise TypeError("Dense: units (or output_dim, its older name) must be given, once")
        self._initializer = _choice("Dense", "kernel_initializer", kernel_initializer, [*_INITIALIZERS])
        self._activation = _activation("Dense", activation)
        self._units, self._bias = units if units is not None else output_dim, use_bias
        nn.Linear(None, self._units, use_bias)  # type: ignore[arg-type]  # judges them now, where they are written

    def _make(self, shape: Shape) -> list[nn.Layer]:
        assert self._units is not None
        return [nn.Linear(None, self._units, self._bias, name=self.name), *self._activation]


class Activation(Layer):
    """An activation by name."""

    kind = "activation"

    def __init__(self, activation: str, **options: Any) -> None:
        super().__init__(**options)
        self._activation = _activation("Activation", activation)

    def _make(self, shape: Shape) -> list[nn.Layer]:
        return self._activation


class Dropout(Layer):
    """Zero for a share `rate` of the values in training."""

    kind = "dropout"

    def __init__(self, rate: float, **options: Any) -> None:
        super().__init__(**options)
        self._rate = rate
        nn.Dropout(rate)

    def _make(self, shape: Shape) -> list[nn.Layer]:
        return [nn.Dropout(self._rate, name=self.name)]


class BatchNormalization(Layer):
    """Each channel (feature) minus its mean, divided by its deviation: the batch's in training, running ones otherwise.

    `momentum` is the share of the old running statistics that stays, where `fastconv.nn.BatchNorm2d` has the share of
    the new. `axis` is that of the channels: 1 in channels-first models. The running variance is the unbiased one, as in
    Keras 2; that of Keras 3 is smaller, by (n - 1) / n for n values of a channel in a batch.
    """

    kind = "batch_normalization"

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        op = "BatchNormalization"
        self._axis = arguments.integer(op, "axis", axis)
        if not number(op, "momentum", momentum, 0.0) <= 1:
            raise ValueError(f"{op}: momentum must be at most 1, got {momentum}")
        if arguments.flag(op, "center", center) != arguments.flag(op, "scale", scale):
            raise ValueError(f"{op}: center and scale must both be True or both False, got {center}, {scale}")
        self._options: dict[str, Any] = {
            "eps": number(op, "epsilon", epsilon, 0.0), "momentum": 1.0 - momentum, "affine": center, "name": self.name,
        }  # fmt: skip

    def check(self, shape: Shape, layout: str) -> None:
        axes, what = {"NHWC": ((-1, 3), "channels-last images"), "NCHW": ((1, -3), "channels-first images")}[layout]
        if len(shape) != 3:
            axes, what = (-1, 1), "features"
        if self._axis not in axes:
            raise ValueError(f"BatchNormalization: axis must be {axes[0]} or {axes[1]} for {what}, got {self._axis}")

    def _make(self, shape: Shape) -> list[nn.Layer]:
        return [(nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d)(None, **self._options)]
