"""`fastconv.explain`: what a call would do, before it does it."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from fastconv import _core
from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array, IntOrPair, PaddingArgument
from fastconv._checks.gpu import is_on_gpu
from fastconv.ops.conv2d import conv2d_geometry
from fastconv.ops.conv_transpose2d import conv_transpose2d_geometry
from fastconv.ops.pool2d import pool2d_geometry
from fastconv.ops.pool2d_passes import flag
from fastconv.ops.slow_path import PassName, forced_copies, slow_notes

PoolPassName: TypeAlias = Literal["max_forward", "max_backward", "avg_forward", "avg_backward"]
_PASSES: dict[str, PassName] = {
    "": "forward",
    "backward_input": "backward_input",
    "backward_weight": "backward_weight",
}
_POOL_PASSES: dict[str, PoolPassName] = {
    "max_pool2d": "max_forward",
    "max_pool2d_backward": "max_backward",
    "avg_pool2d": "avg_forward",
    "avg_pool2d_backward": "avg_backward",
}
_FAMILIES = ("conv2d", "conv_transpose2d", "linear")
# A transposed convolution runs the passes of the convolution in the other direction.
_TRANSPOSED: dict[PassName, PassName] = {"forward": "backward_input", "backward_input": "forward"}
_OPERATIONS = (
    *(f"{family}_{suffix}".rstrip("_") for family in _FAMILIES for suffix in _PASSES),
    *_POOL_PASSES,
)


@dataclass(frozen=True)
class Explanation:
    """How an operation would run. Fields as attributes or by `explanation["scratch_bytes"]`; text by `str`.

    Attributes
    ----------
    op, dtype, layout : str
    input_shape, weight_shape, output_shape : tuple of int
        As the arrays have them in memory; of pooling the weight's is the window's.
    algorithm, isa, kernel : str
        What was chosen: the algorithm, the instruction set, the kernel within it.
    rejected : list of str
        The other algorithms, each with the reason or its estimated work.
    threads : int
        The most threads that the call uses.
    flops : int
        Multiplications and additions of the direct algorithm.
    scratch_bytes, packed_weight_bytes : int
        Memory that the call borrows, and what a weight packed in advance takes.
    layout_conversions, copies, slow_paths, notes : list of str
        Conversions inside the call; copies that the strides or alignment of the given arrays force; what
        `fastconv.config.strict` would refuse; remarks.
    bytes_moved : int
        What the operation must read and write, every array once.
    """

    op: str
    dtype: str
    layout: str
    input_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    algorithm: str
    isa: str
    kernel: str
    rejected: list[str]
    threads: int
    flops: int
    scratch_bytes: int
    packed_weight_bytes: int
    layout_conversions: list[str]
    copies: list[str]
    slow_paths: list[str]
    notes: list[str]
    bytes_moved: int

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain data, ready for JSON."""
        return asdict(self)

    def __getitem__(self, name: str) -> Any:
        try:
            return self.as_dict()[name]
        except KeyError:
            raise KeyError(f"{name!r}; fields: {', '.join(self.as_dict())}") from None

    def __str__(self) -> str:
        shapes = f"{self.input_shape} * {self.weight_shape} -> {self.output_shape}"
        lines = [
            f"{self.op} {self.dtype} {self.layout}  {shapes}",
            f"  algorithm        {self.algorithm} ({self.kernel}, {self.isa}, up to {self.threads} threads)",
            f"  arithmetic       {self.flops / 1e6:.3f} MFLOP",
            f"  memory           {self.bytes_moved} bytes read and written",
            f"  scratch          {self.scratch_bytes} bytes; packed weight {self.packed_weight_bytes} bytes",
        ]
        for title, entries in (
            ("rejected", self.rejected),
            ("layout", self.layout_conversions),
            ("copies", self.copies),
            ("slow", self.slow_paths),
            ("note", self.notes),
        ):
            lines += [f"  {title:<16} {entry}" for entry in entries]
        return "\n".join(lines)


_READ_IN_PASS = {"forward": ("input", "weight"), "backward_input": ("weight",), "backward_weight": ("input",)}


def _dtype_name(op: str, arrays: Mapping[str, Array], dtype: str) -> Literal["float32", "float64"]:
    """The one dtype of the arrays, or the one that the caller names."""
    names = {array.dtype.name for array in arrays.values()} or {dtype}
    if len(names) > 1 or not names <= {"float32", "float64"}:
        raise TypeError(f"{op}: dtype must be float32 or float64, the same for all arrays, got {sorted(names)}")
    return "float64" if "float64" in names else "float32"


def _linear_geometry(op: str, rows: tuple[int, ...], weight: tuple[int, ...]) -> _core.Conv2dShape:
    """A linear operation is a convolution of one pixel."""
    (n, i), (o, wi) = rows, weight
    return _core.Conv2dShape((n, i, 1, 1), (o, wi, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, op)


def _explain_pooling(
    op: str,
    input: Array | Sequence[int],
    window: tuple[object, object, object, object, object],
    order: arg.Layout,
    dtype: str,
    indices: bool,
) -> Explanation:
    arrays = {"input": arg.check_array(op, "input", input, None)} if isinstance(input, np.ndarray) else {}
    dtype_name = _dtype_name(op, arrays, dtype)
    input_shape, _ = arg.batch_shape(op, "input", arrays["input"].shape if arrays else input, 4)
    shape = pool2d_geometry(op, input_shape, *window, order)
    backward = op.endswith("_backward")
    indexed = op.startswith("max") and (backward or indices)
    plan = _core.pool2d_explain(shape, _POOL_PASSES[op], dtype_name, layout=order, index_bytes=4 * indexed)
    copies = forced_copies({} if backward else arrays)
    output_shape = arg.memory_shape(shape.output_shape, order)
    return Explanation(
        op=op,
        dtype=dtype_name,
        layout=order,
        input_shape=input_shape,
        weight_shape=shape.kernel_size,
        output_shape=output_shape,
        algorithm=plan["algorithm"],
        isa=plan["isa"],
        kernel=plan["kernel"],
        rejected=[],
        threads=plan["threads"],
        flops=math.prod(output_shape) * math.prod(shape.kernel_size),
        scratch_bytes=plan["scratch_bytes"],
        packed_weight_bytes=0,
        layout_conversions=[],
        copies=copies,
        slow_paths=copies + slow_notes(plan["notes"]),
        notes=[note for note in plan["notes"] if not slow_notes([note])],
        bytes_moved=plan["bytes_moved"],
    )


def explain(
    op: str,
    input: Array | Sequence[int],
    weight: Array | Sequence[int] | int,
    stride: IntOrPair | None = None,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    *,
    ceil_mode: bool = False,
    return_indices: bool = False,
    layout: str = "NCHW",
    algo: str = "auto",
    dtype: str = "float32",
) -> Explanation:
    """Say how an operation would run: algorithm, instruction set, conversions, copies, scratch memory, FLOPs.

    Parameters
    ----------
    op : str
        "conv2d", "conv2d_backward_input", "conv2d_backward_weight", or the same of "conv_transpose2d" (explained for
        the smallest output) and "linear"; "max_pool2d", "max_pool2d_backward", "avg_pool2d", "avg_pool2d_backward".
    input, weight : shape or ndarray
        Of the *forward* operation, in all passes. An array also tells its dtype, and whether its strides or alignment
        force a copy. Shapes of images are in the order of `layout`. For pooling `weight` is the `kernel_size`.
        Arrays on a GPU are explained as `fastconv.cuda` runs them: `layout_conversions` names those that are not
        channels-last in memory.
    stride, padding, dilation, groups, layout, algo
        As for the operation; a linear one has none of them.
    ceil_mode, return_indices : bool, default False
        Of pooling.
    dtype : "float32" or "float64", default "float32"
        Where only shapes are given.

    Returns
    -------
    Explanation

    Raises
    ------
    TypeError, ValueError
        As the operation itself would.

    Examples
    --------
    >>> print(fastconv.explain("conv2d", (8, 64, 56, 56), (64, 64, 3, 3), padding=1))
    """
    if op not in _OPERATIONS:
        raise ValueError(f"explain: op must be one of {', '.join(map(repr, _OPERATIONS))}, got {op!r}")
    order = arg.layout(op, layout)
    if is_on_gpu(input):
        gpu = importlib.import_module("fastconv.ops.gpu.explain")
        return Explanation(**gpu.plan(op, input, weight, stride, padding, dilation, groups, ceil_mode, order))
    if op in _POOL_PASSES:
        window = (weight, stride, padding, dilation, ceil_mode)
        return _explain_pooling(op, input, window, order, dtype, flag(op, "return_indices", return_indices))
    if isinstance(weight, int):
        raise TypeError(f"{op}: weight must be a shape or an array, got {weight!r}")
    stride = 1 if stride is None else stride
    chosen = arg.algorithm(op, algo)
    arrays = {
        name: arg.check_array(op, name, value, None)
        for name, value in (("input", input), ("weight", weight))
        if isinstance(value, np.ndarray)
    }
    dtype_name = _dtype_name(op, arrays, dtype)
    family = next(name for name in _FAMILIES if op == name or op.startswith(f"{name}_backward"))
    suffix = op[len(family) + 1 :]
    pass_name = _PASSES[suffix]
    ndim = 2 if family == "linear" else 4
    input_shape, _ = arg.batch_shape(op, "input", arrays["input"].shape if "input" in arrays else input, ndim)
    weight_shape = arg.shape_tuple(op, "weight", arrays["weight"].shape if "weight" in arrays else weight, ndim)
    if family == "linear":
        shape = _linear_geometry(op, input_shape, weight_shape)
        order = "NHWC"  # with one pixel both layouts are the same bytes: nothing is converted
        output_shape: tuple[int, ...] = shape.output_shape[:2]
    elif family == "conv_transpose2d":
        shape = conv_transpose2d_geometry(
            op, input_shape, weight_shape, stride, padding, 0, groups, dilation, None, order
        )
        output_shape = arg.memory_shape(shape.input_shape, order)
    else:
        shape = conv2d_geometry(op, input_shape, weight_shape, stride, padding, dilation, groups, order)
        output_shape = arg.memory_shape(shape.output_shape, order)
    native = _TRANSPOSED.get(pass_name, pass_name) if family == "conv_transpose2d" else pass_name
    plan = _core.conv2d_explain(shape, native, dtype_name, layout=order, algo=chosen)
    moved = math.prod(input_shape) + math.prod(weight_shape) + math.prod(output_shape)
    copies = forced_copies({name: arrays[name] for name in _READ_IN_PASS[pass_name] if name in arrays})
    return Explanation(
        op=op,
        dtype=dtype_name,
        layout="rows" if family == "linear" else order,
        input_shape=input_shape,
        weight_shape=weight_shape,
        output_shape=output_shape,
        algorithm=plan["algorithm"],
        isa=plan["isa"],
        kernel=plan["kernel"],
        rejected=plan["rejected"],
        threads=plan["threads"],
        flops=plan["flops"],
        scratch_bytes=plan["scratch_bytes"],
        packed_weight_bytes=plan["packed_weight_bytes"],
        layout_conversions=plan["layout_conversions"],
        copies=copies,
        slow_paths=copies + slow_notes(plan["notes"]),
        notes=[note for note in plan["notes"] if not slow_notes([note])],
        bytes_moved=moved * np.dtype(dtype_name).itemsize,
    )
