"""The native module: what C++ offers to the Python layer.

Arrays are C-contiguous, aligned, in native byte order, float32 or float64, all of one dtype. The module checks this
(TypeError for dtype and memory layout, ValueError for shapes) and never casts or copies. Logical shapes are always
(N, C, H, W) and (O, C/groups, KH, KW); `layout` says how 4-D data arrays lie in memory: an "NHWC" array has the NumPy
shape (N, H, W, C). Weights are OIHW in both layouts. Outputs are passed in and written in full; they are read only
where `accumulate` is true. Every function releases the GIL. `fastconv.ops` is the layer that people call.
"""

from typing import Any, Literal, TypeAlias, TypedDict, final

import numpy as np
from numpy.typing import NDArray

_Array: TypeAlias = NDArray[np.floating[Any]]
_Shape2: TypeAlias = tuple[int, int]
_Shape4: TypeAlias = tuple[int, int, int, int]
_Padding: TypeAlias = tuple[tuple[int, int], tuple[int, int]]
_Layout: TypeAlias = Literal["NCHW", "NHWC"]
_Activation: TypeAlias = Literal["none", "relu"]
_Algorithm: TypeAlias = Literal["auto", "direct", "winograd"]
_Pass: TypeAlias = Literal["forward", "backward_input", "backward_weight"]
_DataPass: TypeAlias = Literal["forward", "backward_input"]
_PoolPass: TypeAlias = Literal["max_forward", "max_backward", "avg_forward", "avg_backward"]
_DType: TypeAlias = Literal["float32", "float64"]

class _Conv2dPlan(TypedDict):
    algorithm: str
    isa: str
    kernel: str
    rejected: list[str]
    layout_conversions: list[str]
    scratch_bytes: int
    packed_weight_bytes: int
    flops: int
    threads: int
    notes: list[str]  # a note that begins with "slow: " names a generic path; config.strict refuses it

class _Pool2dPlan(TypedDict):
    algorithm: str
    isa: str
    kernel: str
    threads: int
    scratch_bytes: int
    bytes_moved: int
    notes: list[str]

class _ScratchStats(TypedDict):
    allocations: int
    bytes_in_use: int
    bytes_reserved: int

class _BuildInfo(TypedDict):
    compiler: str
    openmp: str
    build_type: str

version: str

@final
class Conv2dShape:
    """A judged convolution: sizes checked in 64-bit arithmetic, `padding` resolved to explicit pairs."""
    def __init__(
        self,
        input_shape: _Shape4,
        weight_shape: _Shape4,
        stride: _Shape2,
        padding: _Padding | str,
        dilation: _Shape2,
        groups: int,
        op: str = "conv2d",
    ) -> None: ...
    @property
    def input_shape(self) -> _Shape4: ...
    @property
    def weight_shape(self) -> _Shape4: ...
    @property
    def output_shape(self) -> _Shape4: ...
    @property
    def stride(self) -> _Shape2: ...
    @property
    def padding(self) -> _Padding: ...
    @property
    def dilation(self) -> _Shape2: ...
    @property
    def groups(self) -> int: ...
    @property
    def flops(self) -> int: ...

@final
class Pool2dShape:
    """A judged pooling window."""
    def __init__(
        self,
        input_shape: _Shape4,
        kernel_size: _Shape2,
        stride: _Shape2,
        padding: _Padding,
        dilation: _Shape2,
        ceil_mode: bool,
        op: str = "max_pool2d",
    ) -> None: ...
    @property
    def input_shape(self) -> _Shape4: ...
    @property
    def output_shape(self) -> _Shape4: ...
    @property
    def kernel_size(self) -> _Shape2: ...
    @property
    def stride(self) -> _Shape2: ...
    @property
    def padding(self) -> _Padding: ...
    @property
    def dilation(self) -> _Shape2: ...
    @property
    def ceil_mode(self) -> bool: ...

# Convolution
def conv2d_forward(
    shape: Conv2dShape,
    input: _Array,
    weight: _Array,
    bias: _Array | None,
    output: _Array,
    *,
    layout: _Layout,
    activation: _Activation = "none",
    algo: _Algorithm = "auto",
    packed_weight: _Array | None = None,
    max_pool: bool = False,
) -> None: ...
def conv2d_fuses_max_pool(shape: Conv2dShape, dtype_name: _DType, *, algo: _Algorithm = "auto") -> bool: ...
def conv2d_backward_input(
    shape: Conv2dShape,
    weight: _Array,
    grad_output: _Array,
    grad_input: _Array,
    *,
    layout: _Layout,
    algo: _Algorithm = "auto",
    packed_weight: _Array | None = None,
) -> None: ...
def conv2d_backward_weight(
    shape: Conv2dShape,
    input: _Array,
    grad_output: _Array,
    grad_weight: _Array,
    *,
    layout: _Layout,
    algo: _Algorithm = "auto",
    accumulate: bool = False,
) -> None: ...
def conv2d_backward_bias(
    grad_output: _Array, grad_bias: _Array, *, layout: _Layout, accumulate: bool = False
) -> None: ...
def conv2d_pack_weight(
    shape: Conv2dShape, weight: _Array, pass_name: _DataPass, *, algo: _Algorithm = "auto"
) -> _Array:
    """Pack once, use often: valid while the weight and the active instruction set stay the same."""

def conv_transpose2d_shape(
    input_shape: _Shape4,
    weight_shape: _Shape4,
    stride: _Shape2,
    padding: _Padding | str,
    dilation: _Shape2,
    groups: int,
    output_padding: _Shape2,
    output_size: _Shape2 | None,
    op: str = "conv_transpose2d",
) -> Conv2dShape:
    """The convolution whose gradient of the input a transposed one is: its `input_shape` is the transposed output."""

def conv_transpose2d_forward(
    shape: Conv2dShape,
    input: _Array,
    weight: _Array,
    bias: _Array | None,
    output: _Array,
    *,
    layout: _Layout,
    activation: _Activation = "none",
    algo: _Algorithm = "auto",
    packed_weight: _Array | None = None,
) -> None:
    """conv2d_backward_input with a bias and an activation; weights are packed for that pass."""

def conv2d_explain(
    shape: Conv2dShape, pass_name: _Pass, dtype_name: _DType, *, layout: _Layout, algo: _Algorithm = "auto"
) -> _Conv2dPlan: ...

# Linear: input (N, I), weight (O, I), bias (O,), output (N, O)
def linear_forward(
    input: _Array,
    weight: _Array,
    bias: _Array | None,
    output: _Array,
    *,
    activation: _Activation = "none",
    packed_weight: _Array | None = None,
) -> None: ...
def linear_backward_input(
    weight: _Array, grad_output: _Array, grad_input: _Array, *, packed_weight: _Array | None = None
) -> None: ...
def linear_backward_weight(
    input: _Array, grad_output: _Array, grad_weight: _Array, *, accumulate: bool = False
) -> None: ...
def linear_backward_bias(grad_output: _Array, grad_bias: _Array, *, accumulate: bool = False) -> None: ...
def linear_pack_weight(weight: _Array, pass_name: _DataPass) -> _Array: ...

# Layout: NumPy shapes (N, C, H, W) and (N, H, W, C)
def nchw_to_nhwc(input: _Array, output: _Array) -> None: ...
def nhwc_to_nchw(input: _Array, output: _Array) -> None: ...

# Pooling; indices are flat in H*W of the input plane, the first maximum wins, NaN propagates
def max_pool2d_forward(
    shape: Pool2dShape,
    input: _Array,
    output: _Array,
    indices: NDArray[np.int32] | NDArray[np.uint8] | None,
    *,
    layout: _Layout,
    positive_only: bool = False,
) -> None:
    """int32: flat in H*W. uint8: the tap's number kh*KW + kw; 255 with `positive_only` where the maximum is <= 0."""

def max_pool2d_backward(
    shape: Pool2dShape,
    grad_output: _Array,
    indices: NDArray[np.int32] | NDArray[np.uint8],
    grad_input: _Array,
    *,
    layout: _Layout,
    output: _Array | None = None,
) -> bool:
    """`output`, the pooled output of a ReLU'd input, zeroes the gradient first where it is not positive.

    False if an index lies outside the plane; it was left out.
    """

def pool2d_explain(
    shape: Pool2dShape, pass_name: _PoolPass, dtype: _DType, *, layout: _Layout, index_bytes: int = 0
) -> _Pool2dPlan: ...
def avg_pool2d_forward(
    shape: Pool2dShape,
    input: _Array,
    output: _Array,
    *,
    layout: _Layout,
    count_include_pad: bool = True,
    divisor_override: int = 0,
) -> None: ...
def avg_pool2d_backward(
    shape: Pool2dShape,
    grad_output: _Array,
    grad_input: _Array,
    *,
    layout: _Layout,
    count_include_pad: bool = True,
    divisor_override: int = 0,
) -> None: ...

# Rows and columns apart: upsampling ("nearest", "bilinear") and PyTorch's adaptive bins ("bins")
@final
class Resample2dShape:
    """A judged map of sizes; `scales` as the caller gave them, 0: the quotient of the sizes."""
    def __init__(
        self,
        input_shape: _Shape4,
        output_size: _Shape2,
        mode: str,
        align_corners: bool = False,
        scales: tuple[float, float] = (0.0, 0.0),
        op: str = "resample2d",
    ) -> None: ...
    @property
    def input_shape(self) -> _Shape4: ...
    @property
    def output_shape(self) -> _Shape4: ...

def resample2d_forward(shape: Resample2dShape, input: _Array, output: _Array, *, layout: _Layout) -> None: ...
def resample2d_backward(
    shape: Resample2dShape, grad_output: _Array, grad_input: _Array, *, layout: _Layout
) -> None: ...
def resample2d_max(
    shape: Resample2dShape, input: _Array, output: _Array, indices: NDArray[np.int32], *, layout: _Layout
) -> None:
    """The maximum of each bin, and its index flat in H*W of the input plane."""

def scatter_planes(
    values: _Array, indices: NDArray[np.int32], large: _Array, *, layout: _Layout, add: bool = False
) -> bool:
    """Put values (or add them) at their indices in planes of zeros; False if an index lies outside and was left out."""

def gather_planes(large: _Array, indices: NDArray[np.int32], values: _Array, *, layout: _Layout) -> bool:
    """The values at the indices; False if one lies outside, where the value is zero."""

# Elementwise, any shape; the output may be the very array that goes in
def relu_forward(input: _Array, output: _Array) -> None: ...
def relu_backward(grad_output: _Array, output: _Array, grad_input: _Array) -> None: ...
def add(a: _Array, b: _Array, output: _Array) -> None: ...
def copy(input: _Array, output: _Array, *, stream: bool = False) -> None:
    """On all threads; `stream` stores past the caches. What the memory can do, for the caller to time."""

# Activations by name, any shape; a and b: see csrc/cpu/kernels/activation_kernels.h
def activation_forward(function: str, input: _Array, output: _Array, *, a: float = 0.0, b: float = 0.0) -> None: ...
def activation_backward(
    function: str, grad_output: _Array, saved: _Array, grad_input: _Array, *, a: float = 0.0, b: float = 0.0
) -> None:
    """`saved` is the input of "silu", "gelu", "gelu_tanh" and "softplus", the output of the others."""

# Normalisation of (N, C) or 4-D arrays; stats: mean and 1 / sqrt(var + eps), in pairs
def norm_forward(
    input: _Array,
    weight: _Array | None,
    bias: _Array | None,
    output: _Array,
    stats: NDArray[np.float64],
    *,
    running_mean: _Array | None = None,
    running_var: _Array | None = None,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    groups: int = 0,
    activation: _Activation = "none",
    layout: _Layout,
) -> None:
    """`groups` 0: batch norm, which reads the running statistics unless `training`, and changes them in training; -1:
    layer norm of (rows, elements). The output may be the input."""

def norm_backward(
    grad_output: _Array,
    input: _Array,
    stats: NDArray[np.float64],
    weight: _Array | None,
    bias: _Array | None,
    grad_input: _Array | None,
    grad_weight: _Array | None,
    grad_bias: _Array | None,
    *,
    training: bool = True,
    groups: int = 0,
    activation: _Activation = "none",
    layout: _Layout,
    accumulate: bool = False,
) -> None:
    """`accumulate` adds to grad_weight and grad_bias. grad_input may be grad_output."""

def norm_scratch_bytes(
    shape: list[int] | tuple[int, ...], groups: int, dtype: _DType, *, layout: _Layout, training: bool, backward: bool
) -> int: ...
def local_response_norm(
    input: _Array,
    grad_output: _Array | None,
    output: _Array,
    *,
    size: int,
    alpha: float,
    beta: float,
    k: float,
    layout: _Layout,
) -> None:
    """With `grad_output` the output is the gradient of the input."""

# Softmax over the second axis of (N, C) or (N, C, inner)
def softmax_forward(input: _Array, output: _Array) -> None: ...
def softmax_backward(grad_output: _Array, output: _Array, grad_input: _Array) -> None: ...

# Losses, (N, C)
def softmax_cross_entropy(
    logits: _Array,
    labels: NDArray[np.int64],
    losses: _Array,
    grad: _Array | None,
    grad_scale: float,
    *,
    weight: _Array | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
) -> None:
    """losses[n] = -log softmax(logits[n])[labels[n]]; grad = (softmax - one_hot) * grad_scale."""

def label_weight(labels: NDArray[np.int64], classes: int, weight: _Array | None, ignore_index: int | None) -> float:
    """The sum of the labels' weights; labels out of range are a ValueError."""

def pair_loss(
    kind: Literal["squared", "absolute", "huber", "binary_logits", "binary"],
    input: _Array,
    target: _Array,
    grad: _Array | None,
    grad_scale: float,
    parameter: float = 0.0,
) -> float:
    """The sum over all elements, in float64; grad is its gradient times grad_scale. `parameter` is Huber's delta."""

# Optimiser steps: in place on the parameter and its state, any shape
def sgd_step(
    param: _Array,
    grad: _Array,
    velocity: _Array | None,
    *,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
) -> None: ...
def rmsprop_step(
    param: _Array,
    grad: _Array,
    square_avg: _Array,
    grad_avg: _Array | None,
    velocity: _Array | None,
    *,
    lr: float,
    rho: float,
    eps: float,
    eps_inside_root: bool,
    momentum: float,
    weight_decay: float,
) -> None: ...
def adam_step(
    param: _Array,
    grad: _Array,
    exp_avg: _Array,
    exp_avg_sq: _Array,
    *,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> None: ...

# Run time
def isa_available() -> list[str]: ...
def isa_active() -> str: ...
def set_isa(name: str, *, source: str = "set_isa") -> None:
    """`source` is what an error names: this function, or the environment variable that the name came from."""

def set_num_threads(count: int) -> None: ...
def get_num_threads() -> int: ...
def push_num_threads(count: int) -> int:
    """Override the count for the calling thread; returns what `pop_num_threads` takes back."""

def pop_num_threads(previous: int) -> None: ...
def empty_aligned(nbytes: int) -> NDArray[np.uint8]: ...
def scratch_stats() -> _ScratchStats: ...
def reserve_scratch(nbytes: int) -> None:
    """Make the pool hold so much for the next call, if it doesn't yet."""

def release_scratch() -> None: ...
def fma_peak(dtype: _DType, iterations: int) -> float:
    """Run independent multiply-adds on all threads; returns the number of FLOPs done, the caller takes the time."""

def cuda_status() -> str: ...
def build_info() -> _BuildInfo: ...
