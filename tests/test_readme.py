"""What the README shows runs, from top to bottom, as a reader would type it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 3
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    model, x_test, y_test = names["model"], names["x_test"], names["y_test"]
    assert model.evaluate(x_test / 16, y_test)["accuracy"] > 0.9
    assert (tmp_path / "digits.safetensors").stat().st_size > 0
    assert "conv2d float32" in capsys.readouterr().out


def test_the_two_commands_are_those_that_ci_runs() -> None:
    commands = re.findall(r"```sh\n(.*?)\n```", README, re.DOTALL)
    assert commands == ["pip install . && fastconv train", "pip install '.[test]' && pytest"]
    ci = (Path(__file__).resolve().parents[1] / ".ci" / "run").read_text(encoding="utf-8")
    for command in commands:
        assert command in ci


def test_links_lead_somewhere() -> None:
    root = Path(__file__).resolve().parents[1]
    for page in [root / "README.md", root / "CONTRIBUTING.md", *(root / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), (page.name, target)
