"""Every example runs, ends in numbers and leaves pictures; those that need data run on a part of it where it lies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fastconv.cli import main
from fastconv.cli.example import names

NEED_NOTHING = {
    "filters": "filters.png",
    "go": "go.png",
    "restoration": "restoration.png",
    "segmentation": "segmentation.png",
    "steps": "convolution.gif",
    "style": "style.png",
}
NEED_MNIST = {
    "diffusion": "digits.png",
    "digits": "mnist.png",
    "features": "receptive-fields.png",
    "shift": "shift.png",
    "sliding": "retrieval.png",
}


def test_every_example_is_tested() -> None:
    assert set(names()) == {*NEED_NOTHING, *NEED_MNIST, "keras_mnist"}


@pytest.mark.parametrize("name", NEED_NOTHING)
def test_runs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.delenv("FASTCONV_DATA", raising=False)
    assert main(["example", name, "--quick", "--out", str(tmp_path)]) == 0
    assert (tmp_path / NEED_NOTHING[name]).stat().st_size > 1000
    assert NEED_NOTHING[name] in capsys.readouterr().out


@pytest.mark.parametrize("name", NEED_MNIST)
def test_runs_on_mnist(name: str, tmp_path: Path, data_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert main(["example", name, "--quick", "--out", str(tmp_path), "--data-dir", str(data_folder)]) == 0
    assert (tmp_path / NEED_MNIST[name]).stat().st_size > 1000
    assert "%" in capsys.readouterr().out


def test_filters_print_the_worked_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    main(["example", "filters", "--out", str(tmp_path)])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["6", "9", "8", "7", "4"] in lines  # blur, times 9
    assert ["0", "0", "-2", "-4", "-4"] in lines  # horizontal edges
    assert lines.count(["1", "3"]) == 2  # pooled


def test_without_a_name_they_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["example"]) == 0
    listed = [line.split(" ", 1)[0] for line in capsys.readouterr().out.splitlines()]
    assert listed[: len(names())] == list(names())


def test_help_without_a_name_and_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    for words, text in ((["--help"], "Run one of the examples"), (["filters", "--help"], "Filters by hand")):
        with pytest.raises(SystemExit) as end:
            main(["example", *words])
        assert end.value.code == 0
        assert text in capsys.readouterr().out


def test_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["example", "filter"]) == 1
    assert "name must be one of diffusion, " in capsys.readouterr().err


def test_a_script_runs_by_itself(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, names()["filters"], "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Filters by hand" in done.stdout
