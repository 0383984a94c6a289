"""The safetensors reader and writer: against the reference package both ways, and against files that lie."""

from __future__ import annotations

import io
import json
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastconv.io import load_file, save_file

DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


def example() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    tensors = {f"t.{code}": (rng.random((2, 3)) * 2).astype(code) for code in DTYPES}
    tensors["scalar"] = np.array(3.5, np.float32)
    tensors["empty"] = np.zeros((0, 4), np.int32)
    tensors["named ö/\u2603"] = np.arange(3, dtype=np.int64)
    return tensors


def assert_same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    assert left.keys() == right.keys()
    for name, array in left.items():
        assert array.dtype == right[name].dtype
        assert array.shape == right[name].shape
        np.testing.assert_array_equal(array, right[name])


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    save_file(example(), path, {"key": "value ö"})
    tensors, metadata = load_file(path)
    assert_same(example(), tensors)
    assert metadata == {"key": "value ö"}
    assert all(array.flags.writeable and array.flags.aligned for array in tensors.values())


def test_both_ways_with_the_reference_package(tmp_path: Path) -> None:
    reference = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "t.safetensors"
    save_file(example(), path, {"key": "value"})
    assert_same(example(), reference.load_file(path))
    reference.save_file(example(), path, {"key": "value"})
    tensors, metadata = load_file(path)
    assert_same(example(), tensors)
    assert metadata == {"key": "value"}


def test_every_memory_order_is_saved_right(tmp_path: Path) -> None:
    base = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    arrays = {
        "fortran": np.asfortranarray(base),
        "transposed": base.T,
        "reversed": base[:, ::-1, ::2],
        "broadcast": np.broadcast_to(base[:1], (5, 3, 4)),
        "swapped": base.astype(">f4"),
    }
    save_file(arrays, tmp_path / "t")
    tensors, _ = load_file(tmp_path / "t")
    for name, array in arrays.items():
        np.testing.assert_array_equal(tensors[name], array)
        assert tensors[name].dtype == np.float32


def test_the_bytes_do_not_depend_on_the_order_of_the_names() -> None:
    files = [io.BytesIO(), io.BytesIO()]
    save_file(example(), files[0], {"a": "1", "b": "2"})
    save_file(dict(reversed(example().items())), files[1], {"b": "2", "a": "1"})
    assert files[0].getvalue() == files[1].getvalue()


def test_no_tensors(tmp_path: Path) -> None:
    save_file({}, tmp_path / "t")
    assert load_file(tmp_path / "t") == ({}, {})


@pytest.mark.parametrize(
    ("tensors", "error", "text"),
    [
        ({"a": [1.0]}, TypeError, "plain numpy array, got list"),
        ({"a": np.ma.masked_array([1.0], [True])}, TypeError, "MaskedArray"),
        ({"a": np.array([None])}, TypeError, "object"),
        ({"a": np.zeros(2, complex)}, TypeError, "complex128"),
        ({"a": np.array(["x"])}, TypeError, "<U1"),
        ({"__metadata__": np.zeros(1)}, ValueError, "__metadata__"),
        ({3: np.zeros(1)}, ValueError, "must be a str"),
    ],
)
def test_refuses_what_the_format_cannot_hold(tmp_path: Path, tensors: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        save_file(tensors, tmp_path / "t")
    assert not list(tmp_path.iterdir())


def test_refuses_metadata_that_is_not_text() -> None:
    with pytest.raises(TypeError, match="str to str"):
        save_file({}, io.BytesIO(), {"a": 1})  # type: ignore[dict-item]


def entry(dtype: Any = "F32", shape: Any = (2,), data_offsets: Any = (0, 8), **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": data_offsets, **more}


def file_of(header: Any, data: bytes = bytes(8), length: int | None = None) -> io.BytesIO:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return io.BytesIO((len(text) if length is None else length).to_bytes(8, "little") + text + data)


def test_the_example_entry_is_valid() -> None:
    assert load_file(file_of({"a": entry()}))[0]["a"].shape == (2,)


BAD_FILES = {
    "empty file": (io.BytesIO(b""), "takes 8"),
    "seven bytes": (io.BytesIO(bytes(7)), "takes 8"),
    "header too long": (file_of(b"{}", length=100_000_001), "may take 100000000"),
    "header beyond the file": (file_of(b"{}", b"", length=50), "claims 50 bytes"),
    "header length 2**64-1": (file_of(b"{}", length=2**64 - 1), "may take"),
    "pickle": (io.BytesIO(pickle.dumps({"a": np.zeros(100)})), "may take"),
    "no object": (file_of([1, 2]), "begin with"),
    "leading space": (file_of(b" {}", b""), "begin with"),
    "broken JSON": (file_of(b'{"a": '), "not JSON"),
    "two objects": (file_of(b"{}{}", b""), "not JSON"),
    "not UTF-8": (file_of(b'{"\xff": 1}'), "not JSON"),
    "lone surrogate": (file_of({"\ud800": entry()}), "not Unicode"),
    "deep JSON": (file_of(b'{"a":' * 100_000), "too deeply"),
    "duplicate name": (file_of(b'{"a": %s, "a": %s}' % ((json.dumps(entry()).encode(),) * 2)), "twice"),
    "duplicate field": (file_of(b'{"a": {"dtype": "F32", "dtype": "F32"}}'), "twice"),
    "NaN": (file_of(b'{"a": NaN}'), "NaN"),
    "metadata of numbers": (file_of({"__metadata__": {"a": 1}}, b""), "metadata"),
    "metadata list": (file_of({"__metadata__": []}, b""), "metadata"),
    "entry not an object": (file_of({"a": 3}), "must have dtype"),
    "entry without shape": (file_of({"a": {"dtype": "F32", "data_offsets": [0, 8]}}), "must have dtype"),
    "entry with more": (file_of({"a": entry(more=1)}), "nothing else"),
    "unknown dtype": (file_of({"a": entry(dtype="BF16", data_offsets=(0, 4))}), "BF16"),
    "dtype not text": (file_of({"a": entry(dtype=["F32"])}), "dtype"),
    "negative shape": (file_of({"a": entry(shape=[-2])}), "whole numbers"),
    "shape of floats": (file_of({"a": entry(shape=[2.0])}), "whole numbers"),
    "shape of bools": (file_of({"a": entry(shape=[True, 2])}), "whole numbers"),
    "shape not a list": (file_of({"a": entry(shape=2)}), "whole numbers"),
    "shape of 65": (file_of({"a": entry(shape=[1] * 64 + [2])}), "64"),
    "huge number": (file_of({"a": entry(shape=[10**30])}), "digits"),
    "number of 10000 digits": (file_of(b'{"a": {"shape": [1%s]}}' % (b"0" * 10_000)), "digits"),
    "huge shape": (file_of({"a": entry(shape=[10**17, 10**17])}), "takes"),
    "three offsets": (file_of({"a": entry(data_offsets=[0, 4, 8])}), "data_offsets must have 2"),
    "offsets backwards": (file_of({"a": entry(data_offsets=[8, 0])}), "span -8"),
    "size too small": (file_of({"a": entry(data_offsets=[0, 4])}), "takes 8 bytes"),
    "beyond the file": (file_of({"a": entry(shape=[4], data_offsets=[0, 16])}), "file holds 8"),
    "bytes left over": (file_of({"a": entry()}, bytes(12)), "file holds 12"),
    "hole at the start": (file_of({"a": entry(data_offsets=[4, 12])}, bytes(12)), "begins at byte 4"),
    "hole": (file_of({"a": entry(), "b": entry(data_offsets=[12, 20])}, bytes(20)), "begins at byte 12"),
    "overlap": (file_of({"a": entry(), "b": entry(data_offsets=[4, 12])}, bytes(12)), "begins at byte 4"),
    "same place twice": (file_of({"a": entry(), "b": entry()}), "begins at byte 0"),
    "BOOL of 2": (file_of({"a": entry("BOOL", [8])}, b"\2" * 8), "other than 0 and 1"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_refuses_a_bad_file(case: str) -> None:
    file, text = BAD_FILES[case]
    with pytest.raises(ValueError, match="not a valid safetensors file: .*" + text):
        load_file(file)


def test_every_truncation_is_refused() -> None:
    whole = io.BytesIO()
    save_file({"a": np.arange(5.0), "b": np.zeros(3, np.uint8)}, whole)
    content = whole.getvalue()
    for size in range(len(content)):
        with pytest.raises(ValueError, match="not a valid safetensors file"):
            load_file(io.BytesIO(content[:size]))


def test_random_damage_is_refused_or_harmless() -> None:
    whole = io.BytesIO()
    save_file({"a": np.arange(5.0), "b": np.zeros(3, np.uint8)}, whole, {"key": "value"})
    rng = np.random.default_rng(1)
    for _ in range(2000):
        content = bytearray(whole.getvalue())
        for position in rng.integers(len(content), size=rng.integers(1, 4)):
            content[position] = rng.integers(256)
        with suppress(ValueError):  # and nothing else: no MemoryError, no KeyError
            load_file(io.BytesIO(bytes(content)))


def test_huge_sizes_beside_a_zero_are_refused_or_empty() -> None:
    file = file_of({"a": entry(shape=[10**17, 0, 10**17], data_offsets=[0, 0])}, b"")
    with pytest.raises(ValueError, match=r"too big|not a valid"):
        load_file(file)
