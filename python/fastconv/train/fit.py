"""The training loop, and its two small sisters evaluate and predict."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv.data import BatchLoader
from fastconv.data.loader import Transform, check_numbers
from fastconv.metrics import WeightedMean
from fastconv.train.callbacks import Callback, History
from fastconv.train.checkpoint import CheckpointFolder
from fastconv.train.interrupt import Interruption, TrainingInterrupted
from fastconv.train.progress import Progress, describe
from fastconv.train.run import Run
from fastconv.train.trainable import Trainable

__all__ = ["evaluate", "fit", "predict"]

Arrays = tuple[NDArray[Any], NDArray[Any]]


def fit(
    model: Trainable,
    x: NDArray[Any],
    y: NDArray[Any],
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
        Samples and targets. Each batch is cast to the type of the parameters (integer targets to int64) and never
        rescaled; see `fastconv.data.Rescale`.
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
                _open_run(run, folder, resume, x.shape[1:])
            _train(run, judge, folder, interruption)
        finally:
            run.interrupted = interruption.signal_number is not None
            for callback in run.callbacks:
                callback.on_train_end()
                del callback.run  # a callback that is kept must not keep the data
    return run.history


def _split_validation(
    x: NDArray[Any], y: NDArray[Any], validation_data: Arrays | None, share: float
) -> tuple[NDArray[Any], NDArray[Any], Arrays | None]:
    if not 0 <= share < 1:
        raise ValueError(f"fit: validation_split must lie between 0 and 1, got {share}")
    if validation_data is not None and share:
        raise ValueError(f"fit: validation_split must be 0 beside validation_data, got {share}")
    if not share:
        return x, y, validation_data
    kept = len(x) - int(len(x) * share)
    if kept == len(x):
        raise ValueError(f"fit: validation_split must leave at least one of {len(x)} samples to judge by, got {share}")
    return x[:kept], y[:kept], (x[kept:], y[kept:])


def _open_run(run: Run, folder: CheckpointFolder, resume: bool, x_shape: tuple[int, ...]) -> None:
    if not resume and folder.files():
        raise FileExistsError(
            f"fit: checkpoint must be a folder without checkpoints, unless resume=True continues them, "
            f"got {folder.path} with {folder.files()[0].name}"
        )
    state = folder.load() if resume else None
    if state is not None:
        run.model.predict_on_batch(np.zeros((1, *x_shape), run.model.dtype))  # a model may be built by what it sees
        run.restore(state)


def _train(run: Run, judge: BatchLoader | None, folder: CheckpointFolder | None, interruption: Interruption) -> None:
    """Train epoch by epoch. `run` is complete between any two batches, so that it can be saved there."""
    while run.epoch < run.epochs and not run.stopped():
        if run.loader.epoch != run.epoch:  # a resumed run may stand inside its epoch
            run.loader.start_epoch(run.epoch)
        for callback in run.callbacks:
            callback.on_epoch_begin(run.epoch)
        for x, y in run.loader.rest():
            _train_batch(run, x, y)
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


def _train_batch(run: Run, x: NDArray[Any], y: NDArray[Any]) -> None:
    for callback in run.callbacks:
        callback.on_batch_begin(run.step)
    logs = run.model.train_on_batch(x, y)
    run.means.add(logs, len(x))
    for callback in run.callbacks:
        callback.on_batch_end(run.step, logs)
    run.step += 1


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
        means.add(model.test_on_batch(x, y), len(x))
        if interruption is not None and interruption.signal_number is not None:
            break
    return means.result()


def evaluate(
    model: Trainable, x: NDArray[Any], y: NDArray[Any], *, batch_size: int = 256, verbose: bool = False
) -> dict[str, float]:
    """Return the loss and the metrics over all samples.

    Parameters
    ----------
    model
        `fastconv.nn.Model`, compiled.
    x, y
        Samples and targets, cast as in `fit`.
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


def predict(model: Trainable, x: NDArray[Any], *, batch_size: int = 256) -> Any:
    """Return the model's outputs for all samples.

    Parameters
    ----------
    model
        `fastconv.nn.Model`; it need not be compiled.
    x
        Samples, cast to the type of the parameters. None at all give an empty result.
    batch_size
        Samples at a time. Default: 256.

    Returns
    -------
    ndarray
        Shape (N, ...), one row per sample; a tuple of them for a model with several outputs.
    """
    if batch_size < 1:
        raise ValueError(f"predict: batch_size must be at least 1, got {batch_size}")
    check_numbers("predict", "x", x)
    results: list[NDArray[Any]] = []
    outputs: Any = ()
    for begin in range(0, max(len(x), 1), batch_size):
        rows = slice(begin, begin + batch_size)
        outputs = model.predict_on_batch(np.ascontiguousarray(x[rows], model.dtype))
        parts = outputs if isinstance(outputs, tuple) else (outputs,)
        if not results:
            results = [np.empty((len(x), *part.shape[1:]), part.dtype) for part in parts]
        for result, part in zip(results, parts, strict=True):
            result[rows] = part
    return tuple(results) if isinstance(outputs, tuple) else results[0]
