"""Handwritten digits and clothes: a dense network, LeNet-5 and other small convolutional ones, side by side.

Trains each by the recipe of `fastconv train` and draws their errors beside their sizes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from fastconv import data, zoo
from fastconv.cli.example import new_folder, parser, save
from fastconv.train import LearningRateScheduler
from fastconv.viz.canvas import new_figure

NETWORKS = ("mlp", "cnn_6_12", "lenet5", "conv25_50", "keras_mnist")


def main(arguments: Sequence[str] | None = None) -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--data", choices=("mnist", "fashion-mnist"), default="mnist", help="data set (mnist)")
    options_parser.add_argument("--epochs", type=int, metavar="N", help="instead of the recipes'")
    options = options_parser.parse_args(arguments)
    out = new_folder(options, "digits")
    source = data.source(options.data)
    (x, y), (x_test, y_test) = source.load(options.data_dir, options.download)
    if options.quick:
        x, y, x_test, y_test = x[:1000], y[:1000], x_test[:500], y_test[:500]
    rescale = data.Rescale(source.largest)
    x, x_test = rescale(x), rescale(x_test)

    print(f"{'network':<12} {'parameters':>10} {'epochs':>7} {'seconds':>8} {'train':>8} {'test':>8}", flush=True)
    errors: dict[str, tuple[int, float]] = {}
    for name in NETWORKS:
        recipe = zoo.recipe(name, "mnist")
        recipe = replace(recipe, epochs=1 if options.quick else options.epochs or recipe.epochs)
        model = zoo.get(name)(seed=options.seed)
        model.compile(recipe.make_optimizer(), "cross_entropy", ["accuracy"])
        start = time.perf_counter()
        model.fit(
            x,
            y,
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            augment=recipe.make_augmentation(),
            callbacks=[LearningRateScheduler(recipe.make_schedule(len(x)), per="batch")],
            seed=options.seed,
            verbose=False,
        )
        seconds = time.perf_counter() - start
        train, test = (model.evaluate(*part)["accuracy"] for part in ((x, y), (x_test, y_test)))
        size = sum(parameter.size for parameter in model.parameters())
        errors[name] = size, 1 - test
        print(f"{name:<12} {size:>10,} {recipe.epochs:>7} {seconds:>8.1f} {train:>8.2%} {test:>8.2%}", flush=True)

    figure = new_figure(6.5, 4.0)
    axes = figure.subplots()
    for name, (size, error) in errors.items():
        axes.plot(size, 100 * error, "o", label=f"{name}: {error:.2%} wrong, {size:,} parameters", markersize=9)
    axes.set_xscale("log")
    axes.set_ylim(0, 130 * max(error for _, error in errors.values()))
    axes.margins(x=0.2)
    axes.set_xlabel("parameters")
    axes.set_ylabel("test images read wrong, %")
    axes.set_title(f"{options.data}: errors against size")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    save(figure, out / f"{options.data}.png")


if __name__ == "__main__":
    main()
