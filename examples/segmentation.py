"""Segmentation: a U-Net learns which pixels belong to discs, boxes and triangles, on pictures made for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv import data, schedules, viz, zoo
from fastconv.cli.example import new_folder, parser, save
from fastconv.train import LearningRateScheduler


def main(arguments: Sequence[str] | None = None) -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--epochs", type=int, default=12, metavar="N", help="passes over the pictures (12)")
    options = options_parser.parse_args(arguments)
    out = new_folder(options, "segmentation")
    count, held_out, epochs = (64, 16, 1) if options.quick else (3000, 300, options.epochs)
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
    rows = [x_test[:6], *(colours[masks[:6]].transpose(0, 3, 1, 2) for masks in (y_test, found))]
    titles = ["picture"] * 6 + ["true"] * 6 + ["found"] * 6
    save(viz.show_images([image for row in rows for image in row], titles, 6), out / "segmentation.png")


def intersection_over_union(found: np.ndarray, true: np.ndarray) -> float:
    """Pixels in both over pixels in either, of all pictures together."""
    return float(np.sum(found & true) / max(1, np.sum(found | true)))


if __name__ == "__main__":
    main()
