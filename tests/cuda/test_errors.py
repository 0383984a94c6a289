"""What callers of fastconv.cuda read when an argument is wrong: operation, argument, rule and what was given."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fastconv import cuda


def zeros(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


def odd(*shape: int) -> np.ndarray:
    """At an odd address."""
    return np.zeros(4 * int(np.prod(shape)) + 1, np.uint8)[1:].view(np.float32).reshape(shape)


MEMORY = zeros(400)  # for arrays that overlap
X, W, Y, V = zeros(1, 6, 6, 4), zeros(8, 3, 3, 4), zeros(1, 4, 4, 8), zeros(7)

VALUES: list[tuple[Callable[[], Any], str]] = [
    (lambda: cuda.conv2d(X, zeros(8, 3, 3, 5)), r"conv2d: weight must have shape \(O, KH, KW, C/groups\) with C=4, "),
    (lambda: cuda.conv2d(X, W, out=odd(1, 4, 4, 8)), "conv2d: out must be aligned to 4 bytes, got address [0-9]+$"),
    (lambda: cuda.conv2d(odd(1, 6, 6, 4), W), "conv2d: input must be aligned to 4 bytes"),
    (lambda: cuda.conv2d(X, W, precision="tf16"), "conv2d: precision must be 'ieee', 'tf32', .*, got 'tf16'"),
    (
        lambda: cuda.conv2d_backward_input(
            X.shape, W, MEMORY[:128].reshape(Y.shape), out=MEMORY[100:244].reshape(X.shape)
        ),
        "conv2d_backward_input: out must not overlap grad_output in memory, got 576 bytes from address [0-9]+ and 512 ",
    ),
    (
        lambda: cuda.conv2d_backward_bias(MEMORY[:128].reshape(Y.shape), out=MEMORY[4:12]),
        "conv2d_backward_bias: out must not overlap grad_output",
    ),
    (lambda: cuda.conv2d_backward_bias(Y, masked=Y), "conv2d_backward_bias: masked needs a mask, got None"),
    (
        lambda: cuda.conv2d_backward_weight(X, W.shape, Y, accumulate=True),
        "conv2d_backward_weight: accumulate=True needs out, which it adds to, got None",
    ),
    (
        lambda: cuda.stem_conv2d(zeros(1, 3, 9, 9), zeros(8, 3, 3, 3), out=odd(1, 7, 7, 8)),
        "stem_conv2d: out must be aligned",
    ),
    (
        lambda: cuda.nchw_to_nhwc(MEMORY[:144].reshape(X.shape), out=MEMORY[:144].reshape(1, 6, 4, 6)),
        "nchw_to_nhwc: out must not overlap input",
    ),
    (lambda: cuda.global_max_pool2d(odd(1, 6, 6, 4)), "^global_max_pool2d: input must be aligned"),
    (
        lambda: cuda.global_avg_pool2d(MEMORY[:8].reshape(1, 2, 1, 4), out=MEMORY[4:8].reshape(1, 1, 1, 4)),
        "^global_avg_",
    ),
    (lambda: cuda.avg_pool2d(X, 6, out=odd(1, 1, 1, 4)), "^avg_pool2d: out must be aligned"),
    (
        lambda: cuda.global_max_pool2d_backward(
            zeros(1, 1, 1, 4), zeros(1, 1, 1, 4, dtype=np.int32), X.shape, out=odd(*X.shape)
        ),
        "^global_max_pool2d_backward: out must be aligned",
    ),
    (
        lambda: cuda.global_avg_pool2d_backward(odd(1, 1, 1, 4), X.shape),
        "^global_avg_pool2d_backward: grad_output must be aligned",
    ),
    (lambda: cuda.dropout(V, 1.0, seed=1), r"dropout: p must lie in \[0, 1\), got 1.0"),
    (lambda: cuda.dropout(V, seed=-1), r"dropout: seed must lie in \[0, 2\*\*64\), got -1"),
    (lambda: cuda.dropout(V, seed=0, offset=2**64), r"dropout: offset must lie in \[0, 2\*\*64\), got 1844"),
    (lambda: cuda.fill(V, 10**400), "fill: value must fit float32, got 1000"),
    (lambda: cuda.adam_step(V, zeros(7), zeros(7), zeros(7), step=2**70), "adam_step: step must fit 64 bits, got 1180"),
]
TYPES: list[tuple[Callable[[], Any], str]] = [
    (lambda: cuda.conv2d(X.astype(np.float64), W), "conv2d: input must be float32, got float64"),
    (lambda: cuda.conv2d(X, W.tolist()), "conv2d: weight must be an array on a GPU, got builtins.list"),
    (lambda: cuda.conv2d(X.astype(np.float16), W), "conv2d: weight must be float16, got float32"),
    (lambda: cuda.conv2d(X, W, precision=3), r"conv2d: precision must be a str or None, got 3 \(int\)"),
    (
        lambda: cuda.conv2d_backward_weight(X, W.shape, Y, accumulate="no", out=W.copy()),
        r"conv2d_backward_weight: accumulate must be True or False, got 'no' \(str\)",
    ),
    (
        lambda: cuda.conv2d_backward_bias_workspace_bytes(3),
        r"conv2d_backward_bias: grad_output_shape must be a tuple that ends with the channels, got 3 \(int\)",
    ),
    (lambda: cuda.dropout(V, "a", seed=1), r"dropout: p must be a number, got 'a' \(str\)"),
    (lambda: cuda.dropout(V, seed=1.5), r"dropout: seed must be an integer, got 1.5 \(float\)"),
    (lambda: cuda.fill(V, "a"), r"fill: value must be a number, got 'a' \(str\)"),
    (
        lambda: cuda.adam_step(V, zeros(7), zeros(7), zeros(7), step=1.5),
        r"adam_step: step must be an integer, got 1.5 \(float\)",
    ),
    (
        lambda: cuda.sgd_step(V, zeros(7), zeros(7), lr=0.1, momentum=0.5, nesterov="yes"),
        r"sgd_step: nesterov must be True or False, got 'yes' \(str\)",
    ),
]


@pytest.mark.parametrize(("call", "message"), VALUES, ids=lambda x: x.split(" must")[0] if isinstance(x, str) else "")
def test_values(emulated: ModuleType, call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("call", "message"), TYPES, ids=lambda x: x.split(" must")[0] if isinstance(x, str) else "")
def test_types(emulated: ModuleType, call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()
