"""Each test of the Keras spelling starts from one seed."""

from __future__ import annotations

import pytest

from fastconv.keras import utils


@pytest.fixture(autouse=True)
def _seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utils, "_generator", utils._generator)
    utils.set_random_seed(0)
