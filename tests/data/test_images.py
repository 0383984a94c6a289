"""Pictures from .npy, idx and PGM files, from others through Pillow, and files that are none."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fastconv.data import read_images

IMAGE = np.arange(12, dtype=np.uint8).reshape(3, 4)
RAW = IMAGE.tobytes()


def npy(array: np.ndarray, **options: bool) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        npy(IMAGE),
        npy(np.asfortranarray(IMAGE)),
        npy(IMAGE[None]),
        npy(IMAGE[None, None]),
        b"\0\0\x08\2\0\0\0\3\0\0\0\4" + RAW,
        b"P5 4 3 255\n" + RAW,
        b"P5\n# a comment\n4 # another\n3\n255\n" + RAW,
        b"P2\n4 3\n15\n" + b" ".join(str(value).encode() for value in RAW) + b"\n",
    ],
)
def test_reads_the_same_image_from_every_format(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "image").write_bytes(content)
    images = read_images(tmp_path / "image")
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, IMAGE[None, None])


def test_reads_deep_pgm_and_other_types(tmp_path: Path) -> None:
    (tmp_path / "deep").write_bytes(b"P5 2 1 1000\n" + np.array([1, 1000], ">u2").tobytes())
    assert read_images(tmp_path / "deep").tolist() == [[[[1, 1000]]]]
    np.save(tmp_path / "float.npy", IMAGE / 4)
    np.testing.assert_array_equal(read_images(tmp_path / "float.npy"), IMAGE[None, None] / 4)


def zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(1 << 20))
    return file.getvalue()


BAD_FILES = {
    "empty": (b"", "TIFF file, got one that is empty"),
    "text": (b"hello world", "PNG.*begins with the bytes 68 65 6c 6c 6f 20"),
    "npz": (zip_bomb(), "begins with the bytes 50 4b"),
    "short idx": (b"\x00\x00\x08", "not a valid idx file"),
    "pickled objects": (npy(np.array([{}]), allow_pickle=True), r"not a valid \.npy file"),
    "short npy": (npy(IMAGE)[:-1], r"not a valid \.npy file"),
    "npy of no image": (npy(np.arange(3)), r"\(H, W\).*got int64 \(3,\)"),
    "npy of text": (npy(np.array([["a"]])), "must hold numbers"),
    "npy that lies": (npy(IMAGE).replace(b"(3, 4)", b"(3, 4" + b"0" * 11 + b")"), r"not a valid \.npy file"),
    "PGM without pixels": (b"P5 4 3 255\n", "12 bytes, got 0"),
    "PGM too long": (b"P5 4 3 255\n" + RAW + b"x", "12 bytes, got 13"),
    "PGM cut in its header": (b"P5 4 3", "three numbers"),
    "PGM with words": (b"P5 4 x 255\n" + RAW, "three numbers, got b'x'"),
    "PGM of huge size": (b"P5 999999999 999999999 255\n" + RAW, "bytes, got 12"),
    "PGM of no size": (b"P5 0 3 255\n", "at least 1"),
    "PGM with a wrong largest value": (b"P5 4 3 70000\n" + RAW, r"1\.\.65535"),
    "PGM with a pixel too bright": (b"P5 4 3 10\n" + RAW, "larger than 10"),
    "plain PGM, short": (b"P2 4 3 255\n1 2 3", "4 x 3 numbers"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_refuses_a_bad_file(tmp_path: Path, case: str) -> None:
    content, text = BAD_FILES[case]
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(ValueError, match=text):
        read_images(tmp_path / "bad")


def test_a_list_of_paths_is_refused() -> None:
    with pytest.raises(TypeError, match="read_images: path must be one file's path, got list"):
        read_images(["a.png"])  # type: ignore[arg-type]


def test_pictures_that_need_pillow(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    colour = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    image.fromarray(colour).save(tmp_path / "colour.png")
    image.fromarray(IMAGE).save(tmp_path / "grey.bmp")
    assert np.array_equal(read_images(tmp_path / "colour.png"), colour.transpose(2, 0, 1)[None])
    assert np.array_equal(read_images(tmp_path / "grey.bmp"), IMAGE[None, None])
    whole = (tmp_path / "colour.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cut.png is not a picture that Pillow can read"):
        read_images(tmp_path / "cut.png")


def test_without_pillow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ImportError, match=r"needs the extra \[viz\]"):
        read_images(tmp_path / "a.png")
