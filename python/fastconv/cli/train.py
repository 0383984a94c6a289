"""``fastconv train``: from images to a folder with weights, history and pictures."""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastconv
from fastconv import data, metrics, zoo
from fastconv.cli.settings import Settings
from fastconv.nn import Model
from fastconv.train import CSVLogger, LearningRateScheduler, TerminateOnNaN, fit
from fastconv.train import predict as predict_outputs

__all__ = ["train"]


def train(options: argparse.Namespace) -> int:
    """Train as the options say; returns the exit status."""
    start = time.perf_counter()
    settings = _settings(options)
    source = data.source(settings.data)
    (x, y), (x_test, y_test) = source.load(options.data_dir, options.download)
    rescale = data.Rescale(source.largest)
    x_train, x_judge = rescale(x), rescale(x_test)
    network = _build(settings, x.shape[1:], len(source.classes))
    schedule = settings.make_schedule(len(x))
    network.compile(settings.make_optimizer(), "cross_entropy", ["accuracy"])
    network.to(options.device)
    out = _make_folder(options, settings)
    settings.store(out)
    _print_head(settings, network, len(x), len(x_test), x.shape[1:], out)
    history = fit(
        network,
        x_train,
        y,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        validation_data=(x_judge, y_test),
        seed=settings.seed,
        augment=settings.make_augmentation(),
        callbacks=[LearningRateScheduler(schedule, per="batch"), TerminateOnNaN(), CSVLogger(out / "history.csv")],
        checkpoint=out / "checkpoints",
        resume=options.resume,
        handle_sigterm=True,
    )
    if history.stop_reason is not None:
        raise RuntimeError(f"{history.stop_reason}; a smaller --lr may help")
    description = zoo.Description(settings.model, settings.data, x.shape[1:], source.classes, rescale.scale)
    zoo.save_network(network, out / "weights.safetensors", description)
    written = ["weights.safetensors", "history.csv"]
    outputs = predict_outputs(network, x_judge)
    matrix = metrics.confusion_matrix(y_test, outputs.argmax(axis=1), len(source.classes))
    network.to("cpu")  # pictures are made of NumPy arrays
    written += _draw(out, network, history.history, matrix, source.classes, x.shape[1:])
    wrong = len(y_test) - int(np.trace(matrix))
    print(
        f"result   {1 - wrong / len(y_test):.2%} of the {len(y_test):,} held-out images right ({wrong} wrong), "
        f"loss {history.history['val_loss'][-1]:.4f}, {time.perf_counter() - start:.1f} s in all"
    )
    print(f"written  {out}: {', '.join(written)}")
    return 0


def _settings(options: argparse.Namespace) -> Settings:
    """Those of the run to continue, or of a new one; a folder that holds a run is not written over."""
    if options.resume:
        if options.out is None:
            raise ValueError("--resume: --out must name the folder of the run to continue")
        return Settings.stored(Path(options.out).expanduser()).override(options)
    if options.out is not None:
        out = Path(options.out).expanduser()
        if any((out / name).exists() for name in ("run.json", "checkpoints", "weights.safetensors")):
            raise FileExistsError(f"--out: {out} holds a run; add --resume to continue it, or name another folder")
    return Settings.choose(options)


def _make_folder(options: argparse.Namespace, settings: Settings) -> Path:
    if options.out is not None:
        out = Path(options.out).expanduser()
        out.mkdir(parents=True, exist_ok=True)
        return out
    runs = Path("runs")
    runs.mkdir(exist_ok=True)
    for number in itertools.count(1):
        out = runs / f"{settings.data}-{settings.model}-{number}"
        try:
            out.mkdir()
            break
        except FileExistsError:  # also when another run has just taken the number
            continue
    return out


def _build(settings: Settings, image: tuple[int, ...], classes: int) -> Model:
    try:
        return zoo.get(settings.model)(image, classes, seed=settings.seed)
    except ValueError as error:
        size = " x ".join(map(str, image))
        raise ValueError(f"--model: {settings.model} does not fit images of {size} ({error})") from None


def _print_head(
    settings: Settings, network: Model, samples: int, held_out: int, image: tuple[int, ...], out: Path
) -> None:
    size = " x ".join(map(str, image))
    parameters = sum(parameter.size for parameter in network.parameters())
    threads = fastconv.get_num_threads()
    print(f"data     {settings.data}: {samples:,} images of {size} to learn from, {held_out:,} held out")
    print(f"network  {settings.model}: {parameters:,} parameters")
    print(f"recipe   {settings}")
    where = f", {network.device}" if network.device != "cpu" else ""
    print(f"machine  {fastconv.isa_active()}, {threads} thread{'s' * (threads > 1)}{where}")
    print(f"folder   {out}", flush=True)


def _draw(
    out: Path,
    network: Model,
    history: dict[str, list[float]],
    matrix: NDArray[np.int64],
    classes: tuple[str, ...],
    image: tuple[int, ...],
) -> list[str]:
    """Write the pictures and return their names; none without matplotlib."""
    from fastconv import viz

    try:
        figures: dict[str, Any] = {"curves.png": viz.plot_history(history)} if history else {}
        weight = _first_filters(network, image)
        if weight is not None:
            figures["filters.png"] = viz.show_filters(weight, "filters of the first layer")
        figures["confusion.png"] = viz.confusion_matrix_figure(matrix, classes)
    except ImportError as error:
        print(f"no pictures: {error}")
        return []
    for name, figure in figures.items():
        figure.savefig(out / name, dpi=120)
    return list(figures)


def _first_filters(network: Model, image: tuple[int, ...]) -> NDArray[Any] | None:
    """Weights of the first layer that has some, as (O, C, H, W); those of a dense layer lie over the whole image."""
    for layer in network.layers.values():
        for name, parameter in layer.parameters().items():
            if name == "weight":
                weight = parameter.data
                return weight if weight.ndim == 4 else weight.reshape(-1, *image)
    return None
