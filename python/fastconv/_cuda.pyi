"""The CUDA module: kernels on device addresses. `_cuda_emulated` is the same source on the CPU, for tests.

Arrays are addresses (int) of contiguous memory on the current device: activations (N, H, W, C), weights
(O, KH, KW, C/groups), float32 where nothing else is said. 0 stands for an array that is left out. `stream` is a
cudaStream_t as an int. Nothing here allocates or waits for the GPU. `fastconv.cuda` is the layer that looks at arrays.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypedDict, final

_Shape2 = tuple[int, int]
_Shape4 = tuple[int, int, int, int]

class _Properties(TypedDict):
    name: str
    compute_capability: tuple[int, int]
    multiprocessors: int
    memory_bytes: int

architectures: str
emulated: bool

def device_count() -> int: ...
def driver_status() -> str: ...
def device_properties(device: int) -> _Properties: ...
def enter_device(device: int, stream: int) -> int:
    """Make a device current and return the one that was; ValueError for a stream of another device."""

def set_device(device: int) -> None: ...
def order_streams(device: int, first: int, then: int) -> None:
    """Let what comes on `then` wait for all that is on `first`, a stream of `device`; the host does not wait."""

def pointer_device(address: int) -> int:
    """Return the device whose memory this is, or -1 for memory of the host."""

def read_dlpack(capsule: object) -> tuple[int, tuple[int, ...], tuple[int, ...] | None, str, bool]:
    """Return address, shape, strides in elements or None, dtype and whether it is read-only; takes nothing over."""

def set_emulation(
    *,
    late_landing: bool,
    backwards: bool,
    launch_error: str = "",
    compute_capability: int = 90,
    multiprocessors: int = 132,
    tensor_maps: bool = True,
    launches: bool = True,
    simt_tile: tuple[int, int] = (0, 0),
    simt_split: bool = False,
) -> None:
    """Of the emulator only: when asynchronous copies land, the order of threads and blocks, an error of every launch,
    which GPU it is, whether its driver makes tensor maps, and whether kernels run at all."""

def access_cost(addresses: Sequence[int], bytes: int, *, shared: bool) -> tuple[int, int]:
    """Of the emulator only: the turns (sectors) that a request of a warp needs, and the fewest."""

def start_counting() -> None:
    """Of the emulator only: count accesses to memory from here on."""

def stop_counting() -> list[tuple[str, int, bool, bool, int, int, int]]:
    """Of the emulator only: file, line, shared or global, store or load, requests, what they needed and the least."""

def emulate_stream(device: int) -> int:
    """Of the emulator only: a new stream of this device."""

def emulated_orders() -> list[tuple[int, int]]:
    """Of the emulator only: the calls of `order_streams` since this was asked."""

@final
class Plan:
    """A judged call: only addresses are missing, in the order of its maker, and the stream."""
    def run(self, addresses: Sequence[int], stream: int) -> None: ...

@final
class Calls:
    """Plans of one operation by the forms of its calls: arrays as far as their addresses do not matter, and options."""
    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    def run(self, inputs: tuple[Any, ...], out: Any, options: tuple[Any, ...]) -> Any:
        """Return what such a call returns, or None if it is not known, or not quite the same, and nothing was done."""

    def remember(
        self,
        inputs: tuple[Any, ...],
        out: Any,
        options: tuple[Any, ...],
        plan: Plan,
        makers: Sequence[Callable[[], Any]],
        returned: int,
    ) -> None:
        """Run `plan` in such calls, on the addresses of inputs and of what `makers` make: results, then scratch memory.

        `returned`: how many results there are; the first one is not made where `out` is given.
        """

def plan_sequence(steps: Sequence[tuple[Plan, Sequence[int]]]) -> Plan:
    """Run each plan on the addresses of these numbers; the rest of its arrays is left out."""

def read_directly(type: type, library: str, ask: Callable[[], Any]) -> None:
    """Let `Calls` read arrays of this type of "torch", `ask` telling whether gradients are on, or of "cupy", `ask`
    telling the current stream."""

@final
class Conv2dShape:
    """A judged convolution; shapes are (N, C, H, W) and (O, C/groups, KH, KW), whatever the order in memory."""
    def __init__(
        self,
        input_shape: _Shape4,
        weight_shape: _Shape4,
        stride: _Shape2,
        padding: tuple[_Shape2, _Shape2] | str,
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

def explain_conv2d_simt(shape: Conv2dShape, *, backward_input: bool, multiprocessors: int) -> str:
    """Tiles and chunks of the exact kernel, if all arrays are aligned."""

def explain_conv2d_kind(shape: Conv2dShape) -> str: ...
def stem_conv2d_forward(
    shape: Conv2dShape,
    input: int,
    weight: int,
    bias: int,
    output: int,
    *,
    planar: bool,
    relu: bool,
    dtype: str = "float32",
    stream: int,
) -> None:
    """planar: the input lies as (N, C, H, W); all else as for conv2d_forward_mma."""

def stem_conv2d_backward_weight_workspace_bytes(shape: Conv2dShape) -> int:
    """ValueError where the kernel does not take the shape."""

def stem_conv2d_backward_weight(
    shape: Conv2dShape,
    input: int,
    grad_output: int,
    grad_weight: int,
    workspace: int,
    workspace_bytes: int,
    *,
    planar: bool,
    accumulate: bool,
    stream: int,
) -> None: ...
def conv2d_backward_input(
    shape: Conv2dShape,
    weight: int,
    grad_output: int,
    mask: int,
    grad_input: int,
    *,
    dtype: str = "float32",
    precision: str = "",
    workspace: int = 0,
    workspace_bytes: int = 0,
    stream: int,
) -> None:
    """mask: one bit per element of grad_input, which is 0 where it is not set. Types as for conv2d_forward_mma."""

def conv2d_backward_input_choice(
    shape: Conv2dShape, *, dtype: str, precision: str, aligned: bool, compute_capability: int, multiprocessors: int = 0
) -> str: ...
def conv2d_backward_weight_workspace_bytes(
    shape: Conv2dShape, *, dtype: str = "float32", precision: str = ""
) -> int: ...
def conv2d_backward_weight(
    shape: Conv2dShape,
    input: int,
    grad_output: int,
    grad_weight: int,
    workspace: int,
    workspace_bytes: int,
    *,
    dtype: str = "float32",
    precision: str = "",
    wide: bool = False,
    accumulate: bool,
    stream: int,
) -> None:
    """wide: grad_weight is float32 whatever `dtype` is."""

def conv2d_backward_weight_choice(
    shape: Conv2dShape, *, dtype: str, precision: str, aligned: bool, compute_capability: int
) -> str: ...
def conv2d_backward_bias_workspace_bytes(pixels: int, channels: int, *, dtype: str = "float32") -> int: ...
def conv2d_backward_bias(
    pixels: int,
    channels: int,
    grad_output: int,
    mask: int,
    masked: int,
    grad_bias: int,
    workspace: int,
    workspace_bytes: int,
    *,
    dtype: str = "float32",
    wide: bool = False,
    accumulate: bool,
    stream: int,
) -> None:
    """mask: one bit per element of grad_output, which counts where it is set; masked: grad_output so."""

@final
class Pool2dShape:
    def __init__(
        self,
        input_shape: _Shape4,
        kernel_size: _Shape2,
        stride: _Shape2,
        padding: tuple[_Shape2, _Shape2],
        dilation: _Shape2,
        ceil_mode: bool,
        op: str = "max_pool2d",
    ) -> None: ...
    @property
    def input_shape(self) -> _Shape4: ...
    @property
    def output_shape(self) -> _Shape4: ...

def max_pool2d_forward(
    shape: Pool2dShape,
    input: int,
    output: int,
    *,
    indices: int,
    taps: int,
    positive_only: bool,
    dtype: str = "float32",
    stream: int,
) -> None:
    """Places of maxima: int32 indices, uint8 taps, or neither."""

def max_pool2d_backward(
    shape: Pool2dShape,
    grad_output: int,
    *,
    indices: int,
    taps: int,
    grad_input: int,
    dtype: str = "float32",
    stream: int,
) -> None: ...
def avg_pool2d_forward(
    shape: Pool2dShape,
    input: int,
    output: int,
    *,
    count_include_pad: bool,
    divisor_override: int,
    dtype: str = "float32",
    stream: int,
) -> None: ...
def avg_pool2d_backward(
    shape: Pool2dShape,
    grad_output: int,
    grad_input: int,
    *,
    count_include_pad: bool,
    divisor_override: int,
    dtype: str = "float32",
    stream: int,
) -> None: ...
def plan_max_pool2d_backward(shape: Pool2dShape, *, taps: bool, dtype: str, op: str) -> Plan:
    """Addresses: grad_output, indices or taps, result."""

def plan_avg_pool2d_backward(
    shape: Pool2dShape, *, count_include_pad: bool, divisor_override: int, dtype: str, op: str
) -> Plan:
    """Addresses: grad_output, result."""

def plan_max_pool2d_forward(shape: Pool2dShape, *, positive_only: bool, dtype: str, op: str) -> Plan:
    """Addresses: input, taps, output, indices; the last one may be missing."""

def plan_avg_pool2d_forward(
    shape: Pool2dShape, *, count_include_pad: bool, divisor_override: int, dtype: str, op: str
) -> Plan:
    """Addresses: input, output."""

def explain_pool2d(shape: Pool2dShape, operation: str) -> str: ...
def plan_conv2d_backward_input(
    shape: Conv2dShape, *, dtype: str, precision: str, workspace_bytes: int = 0, op: str
) -> Plan:
    """Addresses: grad_output, weight, mask, result, and the workspace where it has bytes."""

def plan_conv2d_backward_weight(
    shape: Conv2dShape, *, dtype: str, precision: str, wide: bool, accumulate: bool, op: str
) -> Plan:
    """Addresses: input, grad_output, workspace, result, and a workspace that was made where none was given."""

def plan_conv2d_backward_bias(pixels: int, channels: int, *, dtype: str, wide: bool, accumulate: bool, op: str) -> Plan:
    """Addresses: grad_output, mask, masked, workspace, result, and a workspace as above."""

def plan_conv2d_forward(
    shape: Conv2dShape, *, dtype: str, precision: str, relu: bool, workspace_bytes: int = 0, op: str
) -> Plan:
    """Addresses: input, weight, bias, output, and the workspace where it has bytes."""

def conv2d_forward_mma(
    shape: Conv2dShape,
    input: int,
    weight: int,
    bias: int,
    output: int,
    *,
    dtype: str,
    precision: str,
    relu: bool,
    workspace: int = 0,
    workspace_bytes: int = 0,
    stream: int,
) -> None:
    """All arrays of `dtype`: float32 with precision ieee, tf32 or tf32x3; float16 and bfloat16 with "" for it.

    The workspace makes no difference but for time, on the device that was asked for its bytes.
    """

def conv2d_forward_workspace_bytes(shape: Conv2dShape, *, dtype: str = "float32", precision: str = "") -> int: ...
def conv2d_backward_input_workspace_bytes(
    shape: Conv2dShape, *, dtype: str = "float32", precision: str = ""
) -> int: ...
def conv2d_forward_choice(
    shape: Conv2dShape, *, dtype: str, precision: str, aligned: bool, compute_capability: int, multiprocessors: int = 0
) -> str:
    """Name the kernel; `aligned`: all arrays begin on 16 bytes; many multiprocessors get small tiles."""

def probe_mma(instruction: str, a: int, b: int, d: int, *, stream: int) -> None:
    """One instruction of one warp on the words (32, 4) a, (32, 2) b and (32, 4) d, for tests."""

def conv2d_wgmma_refusal(
    shape: Conv2dShape, *, dtype: str, precision: str, aligned: bool, compute_capability: int, of: str = "conv2d"
) -> str:
    """Why the choice is not wgmma, or "" if it is; of layers that tensor cores take at all. of: the operation."""

def probe_tma_im2col(
    shape: Conv2dShape, dtype: str, input: int, to: int, *, row: int, c: int, kh: int, kw: int, stream: int
) -> None:
    """On sm_90, for tests: the box of 128 outputs from `row` on under a tap, 128 bytes each, as it lies in shared memory."""

def probe_tma_filter(
    shape: Conv2dShape, dtype: str, weight: int, to: int, *, column: int, c: int, tap: int, stream: int
) -> None:
    """The same of one tap of 64 filters."""

def probe_wgmma(dtype: str, columns: int, a: int, b: int, sums: int, *, turned: str = "", stream: int) -> None:
    """On sm_90, for tests: adds the product of 64 and of `columns` swizzled lines to the sums that each thread holds."""

def plan_transpose(element_bytes: int, batch: int, rows: int, columns: int, *, op: str) -> Plan:
    """Addresses: input, output."""

def plan_relu(count: int, *, dtype: str) -> Plan:
    """Addresses: input, mask, output."""

def plan_add(count: int, *, dtype: str) -> Plan:
    """Addresses: input, other, output."""

def plan_relu_backward_output(count: int, *, dtype: str) -> Plan:
    """Addresses: grad_output, output, result."""

def relu_forward(input: int, output: int, mask: int, count: int, *, dtype: str = "float32", stream: int) -> None: ...
def relu_backward(
    grad_output: int, mask: int, grad_input: int, count: int, *, dtype: str = "float32", stream: int
) -> None: ...
def fill(output: int, value: float, count: int, *, dtype: str = "float32", stream: int) -> None: ...
def copy(input: int, output: int, count: int, *, dtype: str = "float32", stream: int) -> None: ...
def transpose(
    input: int,
    output: int,
    element_bytes: int,
    batch: int,
    rows: int,
    columns: int,
    *,
    op: str = "transpose",
    stream: int,
) -> None:
    """(batch, rows, columns) to (batch, columns, rows), of elements of 2 or 4 bytes."""

def relu_backward_output(
    grad_output: int, output: int, grad_input: int, count: int, *, dtype: str = "float32", stream: int
) -> None: ...
def add(input: int, other: int, output: int, count: int, *, dtype: str = "float32", stream: int) -> None: ...
def dropout(
    input: int,
    output: int,
    count: int,
    *,
    p: float,
    seed: int,
    offset: int,
    counter: int,
    dtype: str = "float32",
    stream: int,
) -> None:
    """`counter` is an int64 in device memory, added to `offset`."""

def softmax_cross_entropy(
    logits: int,
    labels: int,
    label_bytes: int,
    weight: int,
    rows: int,
    classes: int,
    workspace: int,
    loss: int,
    grad: int,
    *,
    mean: bool,
    label_smoothing: float,
    ignore_index: int | None,
    stream: int,
) -> None:
    """`workspace` has rows + 1 float32: the loss of each row, and what a mean divides by."""

def sgd_step(
    param: int,
    grad: int,
    velocity: int,
    changing: int,
    count: int,
    *,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    stream: int,
) -> None:
    """`changing`: the learning rate, one float32 in device memory; `lr` where it is 0."""

def rmsprop_step(
    param: int,
    grad: int,
    square_avg: int,
    grad_avg: int,
    velocity: int,
    changing: int,
    count: int,
    *,
    lr: float,
    rho: float,
    eps: float,
    eps_inside_root: bool,
    momentum: float,
    weight_decay: float,
    stream: int,
) -> None: ...
def adam_step(
    param: int,
    grad: int,
    exp_avg: int,
    exp_avg_sq: int,
    changing: int,
    count: int,
    *,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    stream: int,
) -> None:
    """`changing`: what `adam_factors` wrote; `step` and `lr` where it is 0."""

def adam_factors(
    step: int,
    lr_array: int,
    factors: int,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    decoupled_decay: float,
    stream: int,
) -> None:
    """Add 1 to `step`, an int64 in device memory, and write the three float32 that this step of Adam needs."""

# Layers (bind_layers.cpp): outputs may be the very input, as of every element-by-element function
def plan_activation(function: str, count: int, *, a: float, b: float, op: str) -> Plan:
    """Addresses: input, output."""

def plan_activation_backward(function: str, count: int, *, a: float, b: float, op: str) -> Plan:
    """Addresses: grad_output, what was saved, result."""

def activation_forward(function: str, input: int, output: int, count: int, *, a: float, b: float, stream: int) -> None:
    """The functions of `_core`, and "scale": a * x, and "clip": x from -a to a."""

def activation_backward(
    function: str, grad_output: int, saved: int, grad_input: int, count: int, *, a: float, b: float, stream: int
) -> None: ...
def add_bias(input: int, bias: int, output: int, rows: int, columns: int, *, relu: bool, stream: int) -> None: ...
def softmax_forward(input: int, output: int, rows: int, classes: int, *, stream: int) -> None: ...
def softmax_backward(
    grad_output: int, output: int, grad_input: int, rows: int, classes: int, *, stream: int
) -> None: ...
def fill_int64(output: int, value: int, count: int, *, stream: int) -> None: ...
def dropout2d(
    input: int,
    output: int,
    n: int,
    pixels: int,
    channels: int,
    *,
    p: float,
    seed: int,
    offset: int,
    counter: int,
    stream: int,
) -> None: ...
def batch_norm_workspace_bytes(rows: int, columns: int) -> int: ...
def batch_norm_forward(
    input: int,
    weight: int,
    bias: int,
    output: int,
    stats: int,
    running_mean: int,
    running_var: int,
    rows: int,
    columns: int,
    workspace: int,
    workspace_bytes: int,
    *,
    training: bool,
    momentum: float,
    eps: float,
    relu: bool,
    stream: int,
) -> None:
    """`stats`, (columns, 2) of float64, is written: mean and 1 / sqrt(var + eps)."""

def batch_norm_backward(
    grad_output: int,
    input: int,
    stats: int,
    weight: int,
    bias: int,
    grad_input: int,
    grad_weight: int,
    grad_bias: int,
    rows: int,
    columns: int,
    workspace: int,
    workspace_bytes: int,
    *,
    training: bool,
    relu: bool,
    accumulate: bool,
    stream: int,
) -> None: ...
def group_norm_forward(
    input: int,
    weight: int,
    bias: int,
    output: int,
    stats: int,
    n: int,
    pixels: int,
    channels: int,
    groups: int,
    *,
    eps: float,
    relu: bool,
    stream: int,
) -> None:
    """`stats`, (n * groups, 2) of float64, is written: mean and 1 / sqrt(var + eps)."""

def group_norm_backward(
    grad_output: int,
    input: int,
    stats: int,
    weight: int,
    bias: int,
    grad_input: int,
    grad_weight: int,
    grad_bias: int,
    n: int,
    pixels: int,
    channels: int,
    groups: int,
    workspace: int,
    workspace_bytes: int,
    *,
    relu: bool,
    accumulate: bool,
    stream: int,
) -> None:
    """The workspace is that of batch norm, of n * pixels rows."""

def local_response_norm(
    input: int,
    grad_output: int,
    output: int,
    pixels: int,
    channels: int,
    *,
    size: int,
    alpha: float,
    beta: float,
    k: float,
    stream: int,
) -> None: ...
def combine(
    input: int,
    other: int,
    output: int,
    n: int,
    pixels: int,
    channels: int,
    *,
    multiply: bool,
    spread: bool,
    stream: int,
) -> None:
    """Sum or product; `spread`: other is (n, channels), one for all pixels."""

def sinusoidal_embedding(positions: int, frequency: int, output: int, rows: int, half: int, *, stream: int) -> None: ...
def sinusoidal_embedding_backward(
    grad_output: int, output: int, frequency: int, grad_positions: int, rows: int, half: int, *, stream: int
) -> None: ...
def pair_loss_workspace_bytes(count: int) -> int: ...
def pair_loss(
    kind: str,
    input: int,
    target: int,
    grad: int,
    count: int,
    workspace: int,
    workspace_bytes: int,
    loss: int,
    *,
    delta: float,
    grad_scale: float,
    loss_scale: float,
    stream: int,
) -> None:
    """The sum times `loss_scale`; without a target it is all zeros. Kinds as of `_core`."""

def clip_factor(squares: int, count: int, limit: float, factor: int, *, stream: int) -> None:
    """limit / sqrt(sum of squares), or 1 where the root is below `limit`."""

def multiply_by(array: int, factor: int, count: int, *, stream: int) -> None:
    """By the one float32 at `factor`."""

_Steps = tuple[int, int, int]

def strided_copy(input: int, output: int, shape: _Shape4, from_steps: _Steps, to_steps: _Steps, *, stream: int) -> None:
    """(n, h, w, c) with contiguous channels; steps of images, rows and pixels in elements."""

def pad2d(
    input: int, output: int, shape: _Shape4, rows: _Shape2, columns: _Shape2, *, mode: str, backward: bool, stream: int
) -> None:
    """`shape` of the images; (top, bottom) and (left, right); backward adds up the copies of each pixel."""

def pixel_shuffle(few: int, many: int, shape: _Shape4, factor: int, *, back: bool, stream: int) -> None:
    """few (n, h, w, c * factor**2) to many (n, h * factor, w * factor, c), or back; `shape` is (n, h, w, c)."""

def adaptive_max_pool2d(
    input: int, output: int, places: int, shape: _Shape4, size: _Shape2, *, backward: bool, stream: int
) -> None:
    """Bins of (n, h, w, c); places are int32. Backward takes and gives gradients."""

def scatter_planes(
    values: int, places: int, planes: int, n: int, channels: int, pixels: int, plane: int, *, stream: int
) -> None:
    """planes = values at their places, the last of equal ones, else 0."""

def gather_planes(
    values: int, places: int, planes: int, n: int, channels: int, pixels: int, plane: int, *, stream: int
) -> None:
    """values = planes at the places."""

def norm_power(step: str, input: int, saved: int, output: int, count: int, *, p: float, stream: int) -> None:
    """power, root, root_back, power_back: what Lp pooling does around a sum."""

def softmax_columns(input: int, saved: int, output: int, outer: int, classes: int, inner: int, *, stream: int) -> None:
    """Softmax of (outer, classes, inner) over the classes; backward where `saved`, its output, is given."""

def total_variation(
    input: int,
    grad: int,
    shape: _Shape4,
    workspace: int,
    workspace_bytes: int,
    loss: int,
    *,
    grad_scale: float,
    loss_scale: float,
    stream: int,
) -> None: ...

_Table = tuple[bytes, bytes, bytes]

def resample2d_tables(
    input_shape: _Shape4,
    output_size: _Shape2,
    mode: str,
    align_corners: bool,
    scales: tuple[float, float],
    backward: bool,
) -> tuple[_Table, _Table]:
    """The maps of rows and of columns: first and start as int32, weight as float32, for device memory."""

def resample2d(
    input: int,
    output: int,
    input_shape: _Shape4,
    output_size: _Shape2,
    rows: tuple[int, int, int],
    columns: tuple[int, int, int],
    *,
    stream: int,
) -> None:
    """`input_shape` is (N, H, W, C); rows and columns are addresses of tables."""
