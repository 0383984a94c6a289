"""`explain` and `info` tell what is so."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fastconv


def test_shapes_flops_and_text() -> None:
    e = fastconv.explain("conv2d", (8, 3, 32, 32), (10, 3, 5, 5), padding=2)
    assert e.output_shape == (8, 10, 32, 32)
    assert e.flops == 2 * 8 * 10 * 32 * 32 * 3 * 5 * 5
    assert e.algorithm == "direct"
    assert e.isa == fastconv.isa_active()
    assert e.copies == e.slow_paths == []
    assert e["flops"] == e.flops
    with pytest.raises(KeyError, match="'speed'; fields: op, dtype"):
        e["speed"]
    assert json.loads(json.dumps(e.as_dict()))["scratch_bytes"] == e.scratch_bytes
    for word in ("conv2d float32 NCHW", "(8, 3, 32, 32)", "direct", e.isa, "scratch"):
        assert word in str(e)


def test_layout_conversions_are_named() -> None:
    first = fastconv.explain("conv2d", (2, 64, 14, 14), (64, 64, 3, 3))
    last = fastconv.explain("conv2d", (2, 14, 14, 64), (64, 64, 3, 3), layout="NHWC")
    assert first.output_shape == (2, 64, 12, 12)
    assert last.output_shape == (2, 12, 12, 64)
    assert first.layout_conversions
    assert not last.layout_conversions


@pytest.mark.parametrize("suffix", ["", "_backward_input", "_backward_weight"])
def test_all_passes(suffix: str, dtype: np.dtype) -> None:
    e = fastconv.explain(f"conv2d{suffix}", (4, 16, 20, 20), (32, 16, 3, 3), stride=2, dtype=dtype.name)
    assert e.op == f"conv2d{suffix}"
    assert e.dtype == dtype.name
    assert e.scratch_bytes >= 0
    rows = fastconv.explain(f"linear{suffix}", (64, 784), (512, 784), dtype=dtype.name)
    assert rows.output_shape == (64, 512)
    assert rows.flops == 2 * 64 * 784 * 512
    assert not rows.layout_conversions


@pytest.mark.parametrize("pass_name", ["", "_backward_input", "_backward_weight"])
@pytest.mark.parametrize(("channels", "size", "kernel", "groups"), [(16, 3, 1, 1), (3, 16, 5, 1), (16, 9, 3, 16)])
def test_an_empty_batch(pass_name: str, channels: int, size: int, kernel: int, groups: int, dtype: np.dtype) -> None:
    """Plans divide by sizes that an empty batch does not have."""
    shapes = (0, channels, size, size), (16, channels // groups, kernel, kernel)
    for layout in ("NCHW", "NHWC"):
        x = shapes[0] if layout == "NCHW" else (0, size, size, channels)
        e = fastconv.explain(f"conv2d{pass_name}", x, shapes[1], groups=groups, layout=layout, dtype=dtype.name)
        assert e.flops == 0
        assert "an empty batch: nothing is computed" in e["notes"]


def test_stores_past_the_caches_are_told() -> None:
    def notes(batch: int, layout: str = "NHWC") -> str:
        return " ".join(fastconv.explain("conv2d", (batch, 64, 64, 64), (256, 64, 1, 1), layout=layout)["notes"])

    if fastconv.isa_active() == "baseline":
        pytest.skip("the baseline's blocks are half a line")
    assert "past" in notes(8)
    assert "past" not in notes(1)
    assert "past" not in notes(8, "NCHW")


def test_copies_that_an_array_forces_are_named() -> None:
    x, w = np.ones((2, 3, 8, 8), np.float64), np.ones((4, 3, 3, 3), np.float64)
    assert fastconv.explain("conv2d", x, w).dtype == "float64"
    reversed_rows = fastconv.explain("conv2d", x[:, :, ::-1], w)
    assert reversed_rows.copies == reversed_rows.slow_paths
    assert reversed_rows.copies[0].startswith("input is not C-contiguous")
    misaligned = np.empty(w.nbytes + 1, np.uint8)[1:].view(np.float64).reshape(w.shape)
    assert fastconv.explain("conv2d", x, misaligned).copies[0].startswith("weight is not aligned")
    assert "copies" in str(reversed_rows)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        (("conv3d", (1, 1, 1, 1), (1, 1, 1, 1)), {}, ValueError, "explain: op must be one of 'conv2d'"),
        (("conv2d", (1, 3, 8), (4, 3, 3)), {}, ValueError, "conv2d: weight must have 4 entries"),
        (("conv2d", (1, 3, 8, 8), (4, 2, 3, 3)), {}, ValueError, "conv2d: weight must have shape"),
        (("conv2d", (1, 3, 8, 8), (4, 3, 3, 3)), {"dtype": "float16"}, TypeError, "conv2d: dtype must be float32"),
        (("conv2d", (1, 3, 8, 8), (4, 3, 3, 3)), {"layout": "CHWN"}, ValueError, "layout must be one of"),
        (("linear", (1, 3), (4, 5)), {}, ValueError, "linear: weight must have shape"),
        (("conv2d", (2**40, 3, 2**20, 2**20), (4, 3, 3, 3)), {}, (ValueError, MemoryError), "conv2d: input"),
    ],
)
def test_bad_questions(arguments: tuple, options: dict, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        fastconv.explain(*arguments, **options)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_pooling(layout: str, dtype: np.dtype) -> None:
    shape = (2, 8, 12, 14) if layout == "NCHW" else (2, 12, 14, 8)
    item = dtype.itemsize
    for op in ("max_pool2d", "max_pool2d_backward", "avg_pool2d", "avg_pool2d_backward"):
        e = fastconv.explain(op, shape, 2, layout=layout, dtype=dtype.name)
        assert e.output_shape == ((2, 8, 6, 7) if layout == "NCHW" else (2, 6, 7, 8))
        assert not e.layout_conversions
        assert not e.slow_paths
        assert e.bytes_moved == 2 * 8 * (12 * 14 + 6 * 7) * item + (
            4 * 2 * 8 * 6 * 7 if op == "max_pool2d_backward" else 0
        )
        for word in (op, layout, e.algorithm, e.kernel, f"{e.bytes_moved} bytes"):
            assert word in str(e)
    indexed = fastconv.explain("max_pool2d", shape, 2, layout=layout, dtype=dtype.name, return_indices=True)
    assert indexed.bytes_moved == 2 * 8 * (12 * 14 + 6 * 7) * item + 4 * 2 * 8 * 6 * 7
    dilated = fastconv.explain("max_pool2d_backward", shape, 2, 1, 0, 3, layout=layout)
    assert dilated.algorithm == "scatter"
    assert dilated.slow_paths == ["with a dilation each window adds to its maximum, one element at a time"]
    large = fastconv.explain("max_pool2d", (8, 64, 256, 256), 2, layout="NCHW")
    assert "results are stored past the caches" in large.notes
    with pytest.raises(ValueError, match="max_pool2d: padding must be at most half"):
        fastconv.explain("max_pool2d", shape, 2, None, 2, layout=layout)


def test_info_is_complete() -> None:
    info = fastconv.info()
    assert info.version == fastconv.__version__
    assert info.isa_available == fastconv.isa_available()
    assert json.loads(json.dumps(info.as_dict())) == info.as_dict()
    for word in (info.version, info.isa_active, info.threads_source, info.compiler, info.openmp, "CUDA"):
        assert word in str(info)
    assert info.cuda
