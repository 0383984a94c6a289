"""The training loop, and its two small sisters evaluate and predict."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from fastconv._checks import arguments
from fastconv._checks.gpu import is_on_gpu
from fastconv.data import BatchLoader
from fastconv.data.loader import Columns, Transform, count_samples
from fastconv.metrics import WeightedMean
from fastconv.nn.batch import run_in_slices
from fastconv.train.callbacks import Callback, History
from fastconv.train.checkpoint import CheckpointFolder
from fastconv.train.interrupt import Interruption, TrainingInterrupted
from fastconv.train.progress import Progress, describe
from fastconv.train.run import Run
from fastconv.train.trainable import Trainable

__all__ = ["evaluate", "fit", "predict"]

Arrays = tuple[Columns, Columns]


def fit(
    model: Trainable,
    x: Columns,
    y: Columns,
    *,
    epochs: int = 1,
    batch_size: int = 32,
    validation_data: Arrays | None = None,
    validation_split: float = 0.0,
    shuffle: bool = True,
    seed: int | None = None,
    callbacks: Sequence[Callback] = (),
    verbose: bool = True,
    initial_epoch: int = 0,
    augment: Transform | None = None,
    checkpoint: str | os.PathLike[str] | CheckpointFolder | None = None,
    resume: bool = False,
    handle_sigterm: bool = False,
) -> History:
    """Train a compiled model.

    Ctrl-C ends the run after the batch at hand: a checkpoint is written (when `checkpoint` is given), then
    `TrainingInterrupted`, a KeyboardInterrupt, is raised. A second Ctrl-C raises it at once.

    Parameters
    ----------
    model
        `fastconv.nn.Model`, compiled.
    x, y
        Samples and targets: arrays, or tuples of arrays for several inputs or several losses. Each batch is cast to the
        type of the parameters (integer targets to int64) and never rescaled; see `fastconv.data.Rescale`.
    epochs
        Number of the epoch to end with: a resumed run, or one with `initial_epoch`, trains only what is missing.
    batch_size
        Samples in a batch; the last one of an epoch holds what is left. Default: 32.
    validation_data
        Arrays (x, y) to judge by after each epoch; their figures are called "val_...".
    validation_split
        Share of the data, taken from the end before shuffling, to use as validation data.
    shuffle
        A new order in each epoch. Default: True.
    seed
        Where orders and augmentation come from. Default: drawn anew in each call.
    callbacks
        Called in this order.
    verbose
        Print a line per epoch, and show a bar on a terminal if tqdm is installed. Default: True.
    initial_epoch
        Number of epochs to count as done. Default: 0.
    augment
        Called as ``augment(x_batch, rng)`` for each training batch; see `fastconv.data.RandomShift`.
    checkpoint
        Folder for checkpoints, written after each epoch and on an interrupt.
    resume
        Continue from the newest checkpoint of the folder, if it holds one: the run ends bit for bit as one that was
        never stopped. Without it, a folder that holds checkpoints already is refused. Default: False.
    handle_sigterm
        Treat SIGTERM like Ctrl-C. Default: False.

    Returns
    -------
    History
        The figures of each epoch.
    """
    epochs = arguments.integer("fit", "epochs", epochs)
    batch_size = arguments.integer("fit", "batch_size", batch_size)
    if epochs < 1:
        raise ValueError(f"fit: epochs must be at least 1, got {epochs}")
    if not 0 <= initial_epoch < epochs:
        raise ValueError(f"fit: initial_epoch must lie in 0..{epochs - 1} (epochs - 1), got {initial_epoch}")
    if resume and checkpoint is None:
        raise ValueError("fit: resume needs checkpoint, the folder to continue from, got None")
    x, y, validation_data = _split_validation(x, y, validation_data, validation_split)
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0])
    loader = BatchLoader(x, y, batch_size, shuffle=shuffle, seed=seed, dtype=model.dtype, transform=augment)
    judge = None if validation_data is None else BatchLoader(*validation_data, batch_size, dtype=model.dtype)
    if checkpoint is not None and not isinstance(checkpoint, CheckpointFolder):
        checkpoint = CheckpointFolder(checkpoint)
    run = Run(model, loader, epochs, History(), [*callbacks, Progress()] if verbose else callbacks)
    run.epoch, run.step = initial_epoch, initial_epoch * len(loader)
    with checkpoint or nullcontext() as folder, Interruption(handle_sigterm) as interruption:
        for callback in run.callbacks:
            callback.on_train_begin()
        try:
            if folder is not None:
                _open_run(run, folder, resume, x)
            _train(run, judge, folder, interruption)
        finally:
            run.interrupted = interruption.signal_number is not None
            for callback in run.callbacks:
                callback.on_train_end()
                del callback.run  # a callback that is kept must not keep the data
    return run.history


def _split_validation(
    x: Columns, y: Columns, validation_data: Arrays | None, share: float
) -> tuple[Columns, Columns, Arrays | None]:
    if not 0 <= share < 1:
        raise ValueError(f"fit: validation_split must lie between 0 and 1, got {share}")
    if validation_data is not None and share:
        raise ValueError(f"fit: validation_split must be 0 beside validation_data, got {share}")
    if not share:
        return x, y, validation_data
    samples = count_samples("fit", "x", x)
    count_samples("fit", "y", y)
    kept = samples - int(samples * share)
    if kept == samples:
        raise ValueError(f"fit: validation_split must leave at least one of {samples} samples to judge by, got {share}")
    first, rest = slice(kept), slice(kept, None)
    return _rows(x, first), _rows(y, first), (_rows(x, rest), _rows(y, rest))


def _rows(arrays: Columns, rows: slice) -> Columns:
    return tuple(array[rows] for array in arrays) if isinstance(arrays, list | tuple) else arrays[rows]


def _open_run(run: Run, folder: CheckpointFolder, resume: bool, x: Columns) -> None:
    if not resume and folder.files():
        raise FileExistsError(
            f"fit: checkpoint must be a folder without checkpoints, unless resume=True continues them, "
            f"got {folder.path} with {folder.files()[0].name}"
        )
    state = folder.load() if resume else None
    if state is not None:
        run.model.predict_on_batch(_rows(x, slice(1)))  # a model may be built by what it sees
        run.restore(state)


def _train(run: Run, judge: BatchLoader | None, folder: CheckpointFolder | None, interruption: Interruption) -> None:
    """Train epoch by epoch. `run` is complete between any two batches, so that it can be saved there."""
    while run.epoch < run.epochs and not run.stopped():
        if run.loader.epoch != run.epoch:  # a resumed run may stand inside its epoch
            run.loader.start_epoch(run.epoch)
        for callback in run.callbacks:
            callback.on_epoch_begin(run.epoch)
        for x, y in run.loader.rest():
            _train_batch(run, x, y, _size(x))
            _end_if_interrupted(run, folder, interruption)
            if run.stopped():
                return
            if folder is not None and folder.every is not None and run.step % folder.every == 0:
                folder.save(run.state(), run.step)
        logs = run.means.result()
        if judge is not None:
            means = _judge(run.model, judge, interruption)
            _end_if_interrupted(run, folder, interruption)
            logs |= {f"val_{name}": value for name, value in means.items()}
        logs["learning_rate"] = float(run.model.optimizer.learning_rate)
        for callback in run.callbacks:
            callback.on_epoch_end(run.epoch, logs)
        run.epoch += 1
        run.means.reset()
        if folder is not None:
            folder.save(run.state(), run.step)
        _end_if_interrupted(run, folder, interruption)


def _train_batch(run: Run, x: Any, y: Any, samples: int) -> None:
    for callback in run.callbacks:
        callback.on_batch_begin(run.step)
    logs = run.train_on_batch(x, y)
    run.add(logs, samples)
    for callback in run.callbacks:
        callback.on_batch_end(run.step, logs)
    run.step += 1


def _size(x: Any) -> int:
    """Return the number of samples in a batch."""
    return len(x[0]) if isinstance(x, tuple) else len(x)


def _end_if_interrupted(run: Run, folder: CheckpointFolder | None, interruption: Interruption) -> None:
    if interruption.signal_number is None:
        return
    message = f"training was interrupted after batch {run.step} of {run.epochs * run.batches}"
    if folder is not None:
        message += f"; checkpoint: {folder.save(run.state(), run.step)}"
    raise TrainingInterrupted(message, interruption.signal_number)


def _judge(model: Trainable, loader: BatchLoader, interruption: Interruption | None = None) -> dict[str, float]:
    """Mean figures over one pass; an interrupted pass ends early, and its result is not used."""
    means = WeightedMean()
    for x, y in loader:
        means.add(model.test_on_batch(x, y), _size(x))
        if interruption is not None and interruption.signal_number is not None:
            break
    return means.result()


def evaluate(
    model: Trainable, x: Columns, y: Columns, *, batch_size: int = 256, verbose: bool = False
) -> dict[str, float]:
    """Return the loss and the metrics over all samples.

    Parameters
    ----------
    model
        `fastconv.nn.Model`, compiled.
    x, y
        Samples and targets, or tuples of them, cast as in `fit`.
    batch_size
        Samples at a time. Default: 256.
    verbose
        Print the figures. Default: False.

    Returns
    -------
    dict
        Figures by name, "loss" first.
    """
    figures = _judge(model, BatchLoader(x, y, batch_size, dtype=model.dtype))
    if verbose:
        print(describe(figures), flush=True)
    return figures


def predict(model: Trainable, x: Columns, *, batch_size: int = 256) -> Any:
    """Return the model's outputs for all samples.

    Parameters
    ----------
    model
        `fastconv.nn.Model`; it need not be compiled.
    x
        Samples, cast to the type of the parameters; a tuple of arrays for several inputs. No samples give an empty
        result. While the model is on a GPU, float32 arrays there are taken too; then the result is a CuPy array.
    batch_size
        Samples at a time. Default: 256.

    Returns
    -------
    ndarray
        Shape (N, ...), one row per sample; a tuple of them for a model with several outputs.
    """
    if batch_size < 1:
        raise ValueError(f"predict: batch_size must be at least 1, got {batch_size}")
    if any(map(is_on_gpu, x if isinstance(x, list | tuple) else [x])):
        model.predict_on_batch(_rows(x, slice(0)))  # looks at all but the numbers of samples
        return run_in_slices(model.predict_on_batch, x, batch_size, model.engine.device)  # type: ignore[attr-defined]
    count_samples("predict", "x", x)
    return run_in_slices(model.predict_on_batch, x, batch_size)
