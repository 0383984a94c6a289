"""Segmentation: a U-Net learns which pixels belong to discs, boxes and triangles, on pictures made for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv import data, schedules, viz, zoo
from fastconv.cli.example import new_folder, parser, save
from fastconv.train import LearningRateScheduler


def main(arguments: Sequence[str] | None = None) -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--epochs", type=int, default=15, metavar="N", help="passes over the pictures (15)")
    options = options_parser.parse_args(arguments)
    out = new_folder(options, "segmentation")
    count, held_out, epochs = (64, 16, 1) if options.quick else (4000, 400, options.epochs)
    x, y = data.make_shapes(count, seed=options.seed)
    x_test, y_test = data.make_shapes(held_out, seed=options.seed + 1)

    model = zoo.unet((3, 64, 64), len(data.SHAPE_CLASSES), width=16, depth=3, seed=options.seed)
    model.compile("adam", "cross_entropy", ["accuracy"])
    steps = epochs * -(-count // 16)
    rate = LearningRateScheduler(schedules.OneCycle(0.003, steps), per="batch")
    model.fit(x, y, epochs=epochs, batch_size=16, seed=options.seed, callbacks=[rate])

    found = model.predict(x_test).argmax(axis=1)
    scores = [intersection_over_union(found == kind, y_test == kind) for kind in range(len(data.SHAPE_CLASSES))]
    for name, score in zip(data.SHAPE_CLASSES, scores, strict=True):
        print(f"{name:<10} intersection over union {score:.4f}")
    print(f"{'mean':<10} intersection over union {np.mean(scores):.4f} on {held_out} held-out pictures")

    colours = np.array([[0.15, 0.15, 0.2], [0.9, 0.3, 0.2], [0.2, 0.6, 0.9], [0.95, 0.8, 0.2]])
    wrong = (found != y_test).mean(axis=(1, 2))
    shown = np.array([0, 1, 2, 3, *wrong.argsort()[:-3:-1]])  # the first four and the two worst
    true, drawn = (colours[masks[shown]].transpose(0, 3, 1, 2) for masks in (y_test, found))
    titles = ["picture"] * 6 + ["true"] * 6 + [f"found, {share:.1%} of the pixels wrong" for share in wrong[shown]]
    figure = viz.show_images([*x_test[shown], *true, *drawn], titles, 6)
    figure.suptitle(f"discs red, boxes blue, triangles yellow; the two on the right are the worst of {held_out}")
    save(figure, out / "segmentation.png")


def intersection_over_union(found: np.ndarray, true: np.ndarray) -> float:
    """Pixels in both over pixels in either, of all pictures together."""
    return float(np.sum(found & true) / max(1, np.sum(found | true)))


if __name__ == "__main__":
    main()
