"""Parameter: stable memory, versions, checks."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.nn import Parameter


def test_data_is_copied_and_aligned(dtype: np.dtype) -> None:
    source = np.arange(6, dtype=dtype).reshape(2, 3)
    parameter = Parameter(source.T, "w")
    source[...] = 0
    np.testing.assert_array_equal(parameter.data, np.arange(6).reshape(2, 3).T)
    assert parameter.data.ctypes.data % 64 == 0
    assert parameter.data.flags.c_contiguous
    assert parameter.dtype == dtype
    assert parameter.grad is None


def test_assignment_keeps_the_memory_and_counts_a_change() -> None:
    parameter = Parameter(np.zeros((2, 3), np.float32))
    memory, version = parameter.data, parameter.version
    parameter.data = np.ones((2, 3))
    assert parameter.data is memory
    assert parameter.version == version + 1
    assert memory.sum() == 6
    parameter.touch()
    assert parameter.version == version + 2


def test_gradient_is_made_once() -> None:
    parameter = Parameter(np.zeros(3, np.float32))
    grad = parameter.gradient()
    grad += 1
    assert parameter.grad is grad
    parameter.zero_grad()
    assert parameter.grad is grad
    assert not grad.any()


def test_astype_changes_memory_and_version() -> None:
    parameter = Parameter(np.full(3, 0.1, np.float32))
    parameter.gradient()
    version = parameter.version
    parameter.astype("float64")
    assert parameter.dtype == np.float64
    assert parameter.grad is None
    assert parameter.version > version
    np.testing.assert_array_equal(parameter.data, np.full(3, np.float32(0.1)))


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (np.zeros((3, 2), np.float32), ValueError, r"Parameter 'w': data must have shape \(2, 3\), got \(3, 2\)"),
        (np.zeros((2, 3), np.int64), TypeError, "data must be floating point, got int64"),
        (np.zeros((2, 3), complex), TypeError, "data must be floating point"),
    ],
)
def test_bad_values_are_refused(value: np.ndarray, error: type[Exception], text: str) -> None:
    parameter = Parameter(np.zeros((2, 3), np.float32), "w")
    with pytest.raises(error, match=text):
        parameter.data = value
    assert parameter.version == 0


@pytest.mark.parametrize("dtype", [np.float16, np.int32, bool, "nonsense"])
def test_bad_dtypes_are_refused(dtype: object) -> None:
    with pytest.raises(TypeError, match="dtype must be float32 or float64"):
        Parameter(np.zeros(2, np.float32)).astype(dtype)
