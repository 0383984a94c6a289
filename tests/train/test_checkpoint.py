"""Checkpoints: a resumed run is bit for bit one that never stopped, and the folder survives whatever happens."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastconv import schedules
from fastconv.data import RandomShift
from fastconv.io.tree import load_tree
from fastconv.train import (
    Callback,
    CheckpointFolder,
    EarlyStopping,
    LearningRateScheduler,
    TrainingInterrupted,
    fit,
)


def run(model: Any, problem: Any, epochs: int, folder: Path | CheckpointFolder | None, **options: Any) -> Any:
    """A run with everything that has a state: shuffling, augmentation, dropout, momentum, schedule, early stopping."""
    x, y = problem
    callbacks = [
        LearningRateScheduler(schedules.Cosine(0.2, total=24, warmup=3), per="batch"),
        EarlyStopping(patience=50),
        *options.pop("more", ()),
    ]
    return fit(model, x, y, epochs=epochs, batch_size=15, validation_data=(x, y), seed=options.pop("seed", 4),
               augment=RandomShift(1), callbacks=callbacks, checkpoint=folder, verbose=False, **options)  # fmt: skip


def assert_same_run(left: Any, right: Any, left_history: Any, right_history: Any) -> None:
    assert left_history.epochs == right_history.epochs
    assert left_history.history == right_history.history
    for one, other in ((left.state_dict(), right.state_dict()),
                       (left.optimizer.state_dict(), right.optimizer.state_dict())):  # fmt: skip
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert np.asarray(value).tobytes() == np.asarray(other[name]).tobytes() or value == other[name]
    assert left.rng.bit_generator.state == right.rng.bit_generator.state


class InterruptAt(Callback):
    """Send a signal to this process during a given batch, or during the validation after it."""

    def __init__(self, step: int, number: int = signal.SIGINT, twice: bool = False) -> None:
        self.step, self.number, self.twice = step, number, twice

    def on_batch_end(self, step: int, logs) -> None:
        if step == self.step:
            os.kill(os.getpid(), self.number)
            if self.twice:
                os.kill(os.getpid(), self.number)


def test_resume_at_an_epoch_boundary_is_bit_identical(make_model, problem, tmp_path: Path) -> None:
    straight = make_model(1)
    straight_history = run(straight, problem, 6, None)
    run(make_model(1), problem, 3, tmp_path)
    resumed = make_model(99)
    resumed_history = run(resumed, problem, 6, tmp_path, resume=True, seed=98)
    assert_same_run(straight, resumed, straight_history, resumed_history)


@pytest.mark.parametrize("step", [0, 5, 7, 10, 23])
def test_resume_inside_an_epoch_is_bit_identical(make_model, problem, tmp_path: Path, step: int) -> None:
    straight = make_model(1)
    straight_history = run(straight, problem, 6, None)
    with pytest.raises(TrainingInterrupted, match=rf"after batch {step + 1} of 24; checkpoint: "):
        run(make_model(1), problem, 6, tmp_path, more=[InterruptAt(step)])
    resumed = make_model(99)
    resumed_history = run(resumed, problem, 6, tmp_path, resume=True, seed=98)
    assert_same_run(straight, resumed, straight_history, resumed_history)


def test_resume_after_an_interrupted_validation_is_bit_identical(make_model, problem, tmp_path: Path) -> None:
    straight, stopped = make_model(1), make_model(1)
    straight_history = run(straight, problem, 4, None)
    judged, calls = stopped.test_on_batch, []

    def interrupt_the_sixth(x, y):
        calls.append(len(x))
        if len(calls) == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return judged(x, y)

    stopped.test_on_batch = interrupt_the_sixth
    with pytest.raises(TrainingInterrupted):
        run(stopped, problem, 4, tmp_path)
    assert len(calls) == 6
    resumed = make_model(99)
    assert_same_run(straight, resumed, straight_history, run(resumed, problem, 4, tmp_path, resume=True))


def test_checkpoints_between_epochs(make_model, problem, tmp_path: Path) -> None:
    run(make_model(), problem, 1, CheckpointFolder(tmp_path, keep=9, every=3))
    assert [path.name[11:20] for path in CheckpointFolder(tmp_path).files()] == ["000000004", "000000003"]


def test_keeps_the_last_two(make_model, problem, tmp_path: Path) -> None:
    run(make_model(), problem, 4, tmp_path)
    assert [path.name[11:20] for path in CheckpointFolder(tmp_path).files()] == ["000000016", "000000012"]


def test_a_run_that_is_over_stays_over(make_model, problem, tmp_path: Path) -> None:
    first, second = make_model(1), make_model(2)
    history = run(first, problem, 3, tmp_path)
    assert_same_run(first, second, history, run(second, problem, 3, tmp_path, resume=True))


def test_resume_with_an_empty_folder_starts_anew(make_model, problem, tmp_path: Path) -> None:
    assert run(make_model(), problem, 1, tmp_path / "new", resume=True).epochs == [0]


def test_refuses_to_mix_two_runs(make_model, problem, tmp_path: Path) -> None:
    run(make_model(), problem, 1, tmp_path)
    with pytest.raises(FileExistsError, match="unless resume=True"):
        run(make_model(), problem, 1, tmp_path)


def test_refuses_a_checkpoint_of_other_data(make_model, problem, tmp_path: Path) -> None:
    run(make_model(), problem, 1, tmp_path)
    model = make_model(5)
    before = model.state_dict()
    with pytest.raises(ValueError, match="order is not one of 40 samples"):
        run(model, [array[:40] for array in problem], 2, tmp_path, resume=True)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("damage", [{"format": 2}, {"loader": {}}, {"rng": None}, {"means": []}, {"optimizer": {}}])
def test_refuses_a_checkpoint_that_is_no_checkpoint(make_model, problem, tmp_path: Path, damage: Any) -> None:
    run(make_model(), problem, 1, tmp_path)
    folder = CheckpointFolder(tmp_path)
    folder.save(load_tree(folder.files()[0]) | damage, step=99)
    with pytest.raises(ValueError, match=r"checkpoint must|state must|BatchLoader: a state"):
        run(make_model(), problem, 2, tmp_path, resume=True)


def test_refuses_a_folder_in_use(make_model, problem, tmp_path: Path) -> None:
    with CheckpointFolder(tmp_path), pytest.raises(RuntimeError, match="must not be in use by another run"):
        run(make_model(), problem, 1, tmp_path)
    run(make_model(), problem, 1, tmp_path)


def test_passes_over_a_damaged_checkpoint(make_model, problem, tmp_path: Path) -> None:
    run(make_model(), problem, 3, tmp_path)
    folder = CheckpointFolder(tmp_path)
    newest, older = folder.files()
    newest.write_bytes(newest.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="damaged checkpoint.*not a valid safetensors file"):
        state = folder.load()
    assert state is not None
    assert state["epoch"] == 2
    older.write_bytes(b"")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(ValueError, match="not a valid safetensors"):
        folder.load()


def test_a_failing_write_leaves_the_old_checkpoints(make_model, problem, tmp_path: Path, monkeypatch) -> None:
    run(make_model(), problem, 2, tmp_path)
    before = {path.name: path.read_bytes() for path in CheckpointFolder(tmp_path).files()}

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        run(make_model(), problem, 4, tmp_path, resume=True)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.*tensors")} == before
    assert not list(tmp_path.glob("*.tmp"))


def test_bad_options(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep must be at least 1"):
        CheckpointFolder(tmp_path, keep=0)
    with pytest.raises(ValueError, match="every must be at least 1"):
        CheckpointFolder(tmp_path, every=0)


def test_ctrl_c_without_a_folder_leaves_the_model_whole(make_model, problem) -> None:
    model, recorder = make_model(), []
    train = model.train_on_batch
    model.train_on_batch = lambda x, y: recorder.append(len(x)) or train(x, y)
    with pytest.raises(KeyboardInterrupt, match=r"after batch 6 of 24$"):
        run(model, problem, 6, None, more=[InterruptAt(5)])
    assert len(recorder) == 6
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_ends_at_once(make_model, problem, tmp_path: Path) -> None:
    with pytest.raises(TrainingInterrupted, match="twice"):
        run(make_model(), problem, 6, tmp_path, more=[InterruptAt(5, twice=True)])
    assert [path.name[11:20] for path in CheckpointFolder(tmp_path).files()] == ["000000004"]


def test_sigterm_only_when_asked(make_model, problem, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingInterrupted) as caught:
        run(make_model(), problem, 6, tmp_path, more=[InterruptAt(5, signal.SIGTERM)], handle_sigterm=True)
    assert caught.value.signal_number == signal.SIGTERM
    assert CheckpointFolder(tmp_path).files()[0].name == "checkpoint-000000006.safetensors"
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_ignored_signal_stays_ignored(make_model, problem) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert len(run(make_model(), problem, 2, None, more=[InterruptAt(3)]).epochs) == 2
    finally:
        signal.signal(signal.SIGINT, before)


def _train_for_ever(make_model, problem, folder: Path) -> None:
    run(make_model(1), problem, 10_000, CheckpointFolder(folder, every=1), resume=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_kill_at_any_time_leaves_a_checkpoint_to_go_on_from(make_model, problem, tmp_path: Path) -> None:
    """The weights after a chain of kills are those of a run that nobody killed."""
    forked = multiprocessing.get_context("fork")
    for round_ in range(4):
        process = forked.Process(target=_train_for_ever, args=(make_model, problem, tmp_path))
        process.start()
        process.join(0.15 + 0.03 * round_)
        process.kill()
        process.join()
    newest = CheckpointFolder(tmp_path).files()[0]
    state = load_tree(newest)
    straight = make_model(1)
    with pytest.raises(TrainingInterrupted):
        run(straight, problem, 10_000, None, more=[InterruptAt(state["step"] - 1)])
    assert state["step"] > 4
    for name, array in straight.state_dict().items():
        assert array.tobytes() == state["model"][name].tobytes()
