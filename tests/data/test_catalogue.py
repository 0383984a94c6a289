"""The data sets by name."""

from __future__ import annotations

import pytest

from fastconv.data import SOURCES, source


def test_digits_come_without_a_folder() -> None:
    digits = source("digits")
    (x, y), _ = digits.load(None, False)
    assert x.max() == digits.largest
    assert len(digits.classes) == y.max() + 1


def test_the_others_look_into_the_folder(tmp_path) -> None:
    for name in ("mnist", "fashion-mnist"):
        assert len(SOURCES[name].classes) == 10
        with pytest.raises(FileNotFoundError, match=f"^{name}: neither"):
            SOURCES[name].load(tmp_path, False)


def test_source_names_what_there_is() -> None:
    with pytest.raises(ValueError, match="digits, mnist, fashion-mnist, cifar10, got 'cifar'"):
        source("cifar")
