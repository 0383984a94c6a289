"""Sliding: a network for digits, made fully convolutional, finds them in a large picture; retrieval by inner features.

A dense layer on 3x3 maps is a 3x3 convolution: with the same weights the network takes pictures of any size and gives
a map of what it reads at each place. It knows an eleventh class, "no digit here".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv import data, nn, ops, schedules, viz
from fastconv.cli.example import new_folder, parser, save
from fastconv.train import LearningRateScheduler
from fastconv.viz.canvas import new_figure

NOTHING = 10
SIDE = 168


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__).parse_args(arguments)
    out = new_folder(options, "sliding")
    (x, y), (x_test, y_test) = data.load_mnist(options.data_dir, download=options.download)
    if options.quick:
        x, y, x_test, y_test = x[:1500], y[:1500], x_test[:500], y_test[:500]
    rescale = data.Rescale(255)
    x, x_test = rescale(x), rescale(x_test)
    rng = np.random.default_rng(options.seed)

    model = network((1, 28, 28), dense=True, seed=options.seed)
    model.compile("adam", "cross_entropy", ["accuracy"])
    no_digits = off_centre(x[: len(x) // 2], rng)
    epochs = 1 if options.quick else 5
    batches = -(-(len(x) + len(no_digits)) // 64)
    model.fit(
        np.concatenate([x, no_digits]),
        np.concatenate([y, np.full(len(no_digits), NOTHING)]),
        epochs=epochs,
        batch_size=64,
        augment=data.RandomShift(2),  # the large picture is looked at every 4 pixels
        callbacks=[LearningRateScheduler(schedules.OneCycle(0.002, epochs * batches), per="batch")],
        seed=options.seed,
        verbose=False,
    )
    print(f"{model.evaluate(x_test, y_test)['accuracy']:.2%} of {len(x_test):,} single test digits read right")

    wide = network((1, SIDE, SIDE), dense=False, seed=0)
    wide.load_state_dict(
        {
            name: value.reshape(wide.named_parameters()[name].shape)  # dense (O, C*3*3) is convolution (O, C, 3, 3)
            for name, value in model.state_dict().items()
        }
    )
    right = placed = wrong = 0
    for number in range(2 if options.quick else 20):
        picture, truth = scatter(x_test, y_test, rng)
        scores = softmax(wide(picture[None])[0])
        found = peaks(scores)
        hits = sum(any(near(f, t) and f[2] == t[2] for f in found) for t in truth)
        right, placed, wrong = right + hits, placed + len(truth), wrong + len(found) - hits
        if number == 0:
            save(draw(picture[0], scores, found, truth), out / "sliding.png")
    print(f"{right} of {placed} digits in large pictures found and read right, {wrong} finds were wrong")

    codes, queries = model.features(x, "dense1"), model.features(x_test[:1000], "dense1")
    nearest = np.argsort(-unit(queries) @ unit(codes).T, axis=1)[:, :8]
    print(
        f"{np.mean(y[nearest] == y_test[:1000, None]):.2%} of the 8 nearest training images by features of dense1 show "
        "the digit of the query"
    )
    rows = [image for query in range(5) for image in (x_test[query], *x[nearest[query]])]
    save(viz.show_images(rows, ["query", *["nearest"] * 8], 9), out / "retrieval.png")


def network(shape: tuple[int, int, int], dense: bool, seed: int) -> nn.Sequential:
    """The Keras net; `dense` layers for single digits, or the same as convolutions."""
    head: list[nn.Layer] = [nn.Conv2d(64, 64, 3, activation="relu", name="dense1"), nn.Conv2d(64, 11, 1, name="dense2")]
    if dense:
        head = [nn.Flatten(), nn.Linear(576, 64, activation="relu", name="dense1"), nn.Linear(64, 11, name="dense2")]
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, activation="relu", name="conv1"),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, activation="relu", name="conv2"),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, activation="relu", name="conv3"),
        *head,
        input_shape=shape,
        seed=seed,
    )


def off_centre(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Digits that are half outside, pairs of halves, and nothing at all."""
    result = np.zeros_like(images)
    for number, (image, other) in enumerate(zip(images, images[::-1], strict=True)):
        if number % 8:
            shift, axis = int(rng.integers(9, 20)), 1 + number % 2
            halves = [np.roll(image, shift, axis), np.roll(other, shift - 28, axis)]
            keep = np.arange(28) >= shift
            mask = keep[None, :, None] if axis == 1 else keep[None, None, :]
            result[number] = np.where(mask, halves[0], halves[1] if number % 3 else 0)
    return result


def scatter(
    images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Put up to twelve digits into a large picture; returns it and (row, column, digit) of their middles."""
    picture = np.zeros((1, SIDE, SIDE), np.float32)
    truth: list[tuple[int, ...]] = []
    for _ in range(200):
        top, left = (int(v) for v in rng.integers(0, SIDE - 28, 2))
        if len(truth) < 12 and all(max(abs(top + 14 - r), abs(left + 14 - c)) >= 28 for r, c, _ in truth):
            index = int(rng.integers(len(images)))
            picture[:, top : top + 28, left : left + 28] = images[index]
            truth.append((top + 14, left + 14, int(labels[index])))
    return picture, truth


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0))


def peaks(scores: np.ndarray) -> list[tuple[int, ...]]:
    """Greedy: take the surest place, forget its surroundings, go on. Output (r, c) has seen rows 4r to 4r + 27.

    Neighbours vote: the mean of 3 x 3 places has its peak in the middle of a digit, where single ones are all near 1.
    """
    means = ops.avg_pool2d(scores[:NOTHING], 3, 1, padding=1)
    surest = means.max(axis=0)
    found: list[tuple[int, ...]] = []
    while surest.max() > 0.3:
        row, column = np.unravel_index(int(surest.argmax()), surest.shape)
        found.append((4 * int(row) + 14, 4 * int(column) + 14, int(means[:, row, column].argmax())))
        surest[max(0, row - 4) : row + 5, max(0, column - 4) : column + 5] = 0
    return found


def near(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= 10


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def draw(picture: np.ndarray, scores: np.ndarray, found: list[tuple[int, ...]], truth: list[tuple[int, ...]]) -> Any:
    from matplotlib.patches import Rectangle

    figure = new_figure(10.5, 5.2)
    left, right = figure.subplots(1, 2)
    left.imshow(picture, cmap="gray")
    for find in found:
        row, column, digit = find
        colour = "lime" if any(near(find, t) and t[2] == digit for t in truth) else "red"
        box = {"facecolor": "none", "edgecolor": colour, "linewidth": 1.5}
        left.add_patch(Rectangle((column - 14.5, row - 14.5), 28, 28, **box))
        left.text(column - 13, row - 13, str(digit), color=colour, fontsize=12, fontweight="bold", va="top")
    shown = right.imshow(1 - scores[NOTHING], cmap="viridis", vmin=0, vmax=1, extent=(12, SIDE - 12, SIDE - 12, 12))
    figure.colorbar(shown, ax=right, shrink=0.8, label="probability of a digit here")
    for axes, title in ((left, "what was found and read (red: wrong)"), (right, "heat map")):
        axes.set_title(title)
        axes.axis("off")
    return figure


if __name__ == "__main__":
    main()
