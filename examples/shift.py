"""Shift: how well a dense network and a convolutional one read digits that are moved by 0 to 6 pixels.

Both learn from digits in the middle of the image. A convolution sees a moved digit as a moved map, and pooling takes
small moves out; a dense layer has never seen the pixels at their new places.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv import data, schedules, zoo
from fastconv.cli.example import new_folder, parser, save
from fastconv.train import LearningRateScheduler
from fastconv.viz.canvas import new_figure

NETWORKS = {
    "mlp": "dense 784-512-10",
    "keras_mnist": "convolutional (Keras net)",
    "cnn_6_12": "convolutional (6 and 12 maps)",
}
SHIFTS = range(7)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__).parse_args(arguments)
    out = new_folder(options, "shift")
    (x, y), (x_test, y_test) = data.load_mnist(options.data_dir, download=options.download)
    if options.quick:
        x, y, x_test, y_test = x[:1000], y[:1000], x_test[:200], y_test[:200]
    rescale = data.Rescale(255)
    x, x_test = rescale(x), rescale(x_test)

    epochs = 1 if options.quick else 5
    accuracy: dict[str, list[float]] = {}
    for name in NETWORKS:
        model = zoo.get(name)(seed=options.seed)
        model.compile("adam", "cross_entropy", ["accuracy"])
        rate = LearningRateScheduler(schedules.OneCycle(0.003, epochs * -(-len(x) // 64)), per="batch")
        model.fit(x, y, epochs=epochs, batch_size=64, seed=options.seed, callbacks=[rate], verbose=False)
        # The mean over the four directions, so that no side is favoured.
        accuracy[name] = [
            float(np.mean([model.evaluate(move(x_test, *step), y_test)["accuracy"] for step in directions(shift)]))
            for shift in SHIFTS
        ]
        print(f"{NETWORKS[name]:<32}" + "  ".join(f"{value:6.2%}" for value in accuracy[name]), flush=True)

    figure = new_figure(6.5, 4.2)
    axes = figure.subplots()
    for name, values in accuracy.items():
        axes.plot(SHIFTS, values, marker="o", label=NETWORKS[name])
    axes.set_xlabel("shift of the test digits, in pixels")
    axes.set_ylabel("share of test digits read right")
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    axes.set_title("trained on digits in the middle, tested on moved ones")
    axes.legend()
    save(figure, out / "shift.png")


def directions(shift: int) -> list[tuple[int, int]]:
    return [(0, 0)] if shift == 0 else [(shift, 0), (-shift, 0), (0, shift), (0, -shift)]


def move(images: np.ndarray, down: int, right: int) -> np.ndarray:
    """Return the images moved, with nothing (0) where they were."""
    moved = np.zeros_like(images)
    height, width = images.shape[2:]
    moved[:, :, max(down, 0) : height + down, max(right, 0) : width + right] = images[
        :, :, max(-down, 0) : height - down, max(-right, 0) : width - right
    ]
    return moved


if __name__ == "__main__":
    main()
