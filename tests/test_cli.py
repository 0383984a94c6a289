"""The command line, run as a person runs it: what it writes, what it says, how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv import cli, data, optim, schedules, zoo
from fastconv.cli import main
from fastconv.io import load_file

QUICK = ["train", "--model", "mlp", "--epochs", "2", "--threads", "1"]


@pytest.fixture(autouse=True)
def _own_folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty folder, know of no data, and draw only where pictures are the point: they take a second."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FASTCONV_DATA", raising=False)
    if request.node.name != "test_train_draws_pictures":
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    assert fastconv.__version__ in capsys.readouterr().out


def test_the_parser_knows_what_there_is() -> None:
    assert set(cli._MODELS) <= zoo.CLASSIFIERS.keys()
    assert tuple(data.SOURCES) == cli._DATA
    for name in cli._OPTIMIZERS:
        optim.get(name)
    for name in cli._SCHEDULES:
        schedules.get(name, 0.1, 10)


def test_train_writes_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(QUICK) == 0
    folder = tmp_path / "runs" / "digits-mlp-1"
    out = capsys.readouterr().out
    assert "1,438 images of 1 x 8 x 8 to learn from, 359 held out" in out
    assert "mlp: 38,410 parameters" in out
    assert f"written  {folder.relative_to(tmp_path)}: weights.safetensors, history.csv" in out
    header, *rows = (folder / "history.csv").read_text().splitlines()
    assert header == "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate"
    assert len(rows) == 2
    assert load_file(folder / "weights.safetensors")[0]["dense1.weight"].shape == (512, 64)
    assert json.loads((folder / "run.json").read_text())["epochs"] == 2
    assert main(QUICK) == 0
    assert (tmp_path / "runs" / "digits-mlp-2").is_dir()


def test_train_draws_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert main([*QUICK, "--out", "run"]) == 0
    for name in ("curves.png", "filters.png", "confusion.png"):
        assert (tmp_path / "run" / name).read_bytes().startswith(b"\x89PNG")


def test_train_says_when_there_are_no_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--out", "run"]) == 0
    assert 'no pictures: pictures need the extra [viz]: pip install "fastconv[viz]"' in capsys.readouterr().out


def test_the_seed_decides_the_weights(tmp_path: Path) -> None:
    for number, seed in enumerate("001"):
        assert main([*QUICK, "--seed", seed, "--out", str(number)]) == 0
    weights = [(tmp_path / str(number) / "weights.safetensors").read_bytes() for number in range(3)]
    assert weights[0] == weights[1] != weights[2]


def test_resume_continues_with_the_options_of_the_run(tmp_path: Path) -> None:
    options = [*QUICK, "--optimizer", "sgd", "--lr", "0.05", "--schedule", "constant", "--batch-size", "50"]
    assert main([*options, "--epochs", "3", "--out", "straight"]) == 0
    assert main([*options, "--out", "parts"]) == 0
    assert main(["train", "--resume", "--out", "parts", "--epochs", "3"]) == 0
    straight, parts = (tmp_path / name for name in ("straight", "parts"))
    for name in ("weights.safetensors", "history.csv", "run.json"):
        assert (straight / name).read_bytes() == (parts / name).read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_and_resume(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "fastconv", *QUICK[:-4], "--threads", "1", "--out", "run"]
    with subprocess.Popen(
        [*command, "--epochs", "1000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line.startswith("epoch"):
                process.send_signal(number)
                break
        process.stdout.read()
        error = process.stderr.read()
    assert process.returncode == 128 + number
    assert "fastconv: training was interrupted after batch" in error
    assert "checkpoint: run/checkpoints/checkpoint-" in error
    assert "Traceback" not in error
    done = len((tmp_path / "run" / "history.csv").read_text().splitlines())
    assert main(["train", "--resume", "--out", "run", "--epochs", str(done + 1)]) == 0


def test_predict_on_held_out_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--out", "run"]) == 0
    accuracy = capsys.readouterr().out.split("result   ")[1].split("%")[0]
    assert main(["predict", "run"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"digits: {accuracy}% of the 359 held-out images right")
    assert " taken for " in out


def test_predict_on_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--out", "run"]) == 0
    _, (x, _) = data.load_digits()
    np.save("three.npy", x[:3, 0])
    Path("one.pgm").write_bytes(b"P5 8 8 16\n" + x[0].tobytes())
    capsys.readouterr()
    assert main(["predict", "run/weights.safetensors", "three.npy", "one.pgm"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["three.npy[0]", "three.npy[1]", "three.npy[2]", "one.pgm"]
    assert lines[0].split("  ")[1:] == lines[3].split("  ")[1:]
    np.save("large.npy", np.zeros((28, 28)))
    assert main(["predict", "run", "large.npy"]) == 1
    assert capsys.readouterr().err == "fastconv: large.npy: mlp takes images of 1 x 8 x 8, got 1 x 28 x 28\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["train", "--data", "mnist"], "set FASTCONV_DATA to a folder"),
        (["train", "--data", "mnist", "--data-dir", "nowhere"], "data folder nowhere does not exist"),
        (["train", "--model", "cnn_6_12"], "--model: cnn_6_12 does not fit images of 1 x 8 x 8"),
        (["train", "--resume"], "--out must name the folder"),
        (["train", "--resume", "--out", "nowhere"], "holds no run.json"),
        (["predict", "nowhere"], "No such file"),
        (["train", "--device", "gpu"], "device must be 'cpu', 'cuda' or 'cuda:<number>', got 'gpu'"),
        ([*QUICK, "--optimizer", "sgd", "--lr", "1e30", "--out", "x"], "the loss was nan"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_errors_are_one_line_and_status_1(words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 1
    error = capsys.readouterr().err
    assert error.startswith("fastconv: ")
    assert text in error
    assert error.count("\n") == 1


def test_a_folder_that_holds_a_run_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--out", "run"]) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.*") if path.is_file()}
    assert main([*QUICK, "--out", "run"]) == 1
    assert "add --resume" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.*") if path.is_file()}


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"epochs": "two"}'])
def test_a_damaged_run_file_is_refused(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(content)
    assert main(["train", "--resume", "--out", "run"]) == 1
    assert "run.json is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["fly"],
        ["train", "--epochs", "0"],
        ["train", "--epochs", "2.5"],
        ["train", "--lr", "-1"],
        ["train", "--lr", "nan"],
        ["train", "--threads", "0"],
        ["train", "--model", "alexnet"],
        ["train", "--data", "imagenet"],
        ["train", "--ep", "3"],
    ],
)
def test_wrong_options_are_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err
