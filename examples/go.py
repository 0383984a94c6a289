"""Go: a policy network learns where the player to move captures the most stones, from 48 planes of the board.

The network is AlphaGo's (D. Silver et al. 2016) with fewer filters; positions are made up, so that the answer is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv import data, ops, schedules, zoo
from fastconv.cli.example import new_folder, parser, save
from fastconv.train import LearningRateScheduler
from fastconv.viz.canvas import new_figure


def main(arguments: Sequence[str] | None = None) -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--filters", type=int, default=32, metavar="K", help="filters in each layer (32)")
    options_parser.add_argument("--layers", type=int, default=6, metavar="N", help="layers before the last (6)")
    options_parser.add_argument("--epochs", type=int, default=8, metavar="N", help="passes over the positions (8)")
    options = options_parser.parse_args(arguments)
    out = new_folder(options, "go")
    count, held_out, epochs = (64, 32, 1) if options.quick else (12000, 1000, options.epochs)
    boards, moves = data.make_go_positions(count, seed=options.seed)
    boards_test, moves_test = data.make_go_positions(held_out, seed=options.seed + 1)
    planes, planes_test = data.go_planes(boards), data.go_planes(boards_test)

    model = zoo.go_policy(filters=options.filters, layers=options.layers, seed=options.seed)
    model.compile("adam", "cross_entropy", ["accuracy"])
    steps = epochs * -(-count // 32)
    rate = LearningRateScheduler(schedules.OneCycle(0.002, steps), per="batch")
    model.fit(
        planes,
        moves,
        epochs=epochs,
        batch_size=32,
        validation_data=(planes_test, moves_test),
        seed=options.seed,
        callbacks=[rate],
    )
    found = model.predict(planes_test)
    ranks = (found > found[np.arange(held_out), moves_test][:, None]).sum(axis=1)
    beside = stones_in_danger_beside(planes_test)
    print(
        f"the move that captures most, in {held_out:,} held-out positions:\n"
        f"  any empty point at random           {np.mean(1 / np.sum(boards_test == 0, axis=(1, 2))):7.2%}\n"
        f"  a point that captures, at random    {np.mean(1 / np.sum(beside > 0, axis=1)):7.2%}\n"
        f"  most stones in danger just beside   {np.mean(beside.argmax(axis=1) == moves_test):7.2%}\n"
        f"  the network                         {np.mean(ranks == 0):7.2%}\n"
        f"  one of its five best                {np.mean(ranks < 5):7.2%}"
    )

    figure = new_figure(13, 5.2)
    shares = np.exp(found - found.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    hardest = np.argsort(shares.max(axis=1))[:3]  # the moves it is least sure of
    for axes, place in zip(figure.subplots(1, 3), hardest, strict=True):
        draw(axes, boards_test[place], shares[place].reshape(boards_test.shape[1:]), int(moves_test[place]))
    figure.suptitle("black to move, where the network is least sure: its moves red, the right one ringed")
    save(figure, out / "go.png")


def stones_in_danger_beside(planes: np.ndarray) -> np.ndarray:
    """A rule without chains, by one convolution: enemy stones with a single liberty around each empty point."""
    cross = np.array([[[[0, 1, 0], [1, 0, 1], [0, 1, 0]]]], np.float32)
    danger = planes[:, 1:2] * planes[:, 12:13]
    beside = ops.conv2d(danger, cross, padding=1) * planes[:, 2:3]
    return np.asarray(beside.reshape(len(planes), -1))


def draw(axes: Any, board: np.ndarray, shares: np.ndarray, move: int) -> None:
    size, (row, column) = len(board), divmod(move, len(board))
    axes.set_facecolor("#f2dcae")
    axes.hlines(range(size), 0, size - 1, color="0.55", linewidth=0.6)
    axes.vlines(range(size), 0, size - 1, color="0.55", linewidth=0.6)
    for colour, stone in (("black", 1), ("white", -1)):
        y, x = np.nonzero(board == stone)
        axes.scatter(x, y, s=100, c=colour, edgecolors="black", linewidths=0.6, zorder=2)
    y, x = np.nonzero(shares > 0.005)
    axes.scatter(x, y, s=110, marker="s", c=shares[y, x], cmap="Reds", vmin=-0.2, vmax=1, zorder=3)
    axes.scatter(column, row, s=210, facecolors="none", edgecolors="tab:green", linewidths=2.5, zorder=4)
    first, chosen = divmod(int(shares.argmax()), size)
    right = "right" if (first, chosen) == (row, column) else "wrong"
    axes.set_title(f"its choice: {shares.max():.0%}, {right}; the right move: {shares[row, column]:.0%}", fontsize=10)
    axes.set(xticks=[], yticks=[], xlim=(-0.8, size - 0.2), ylim=(size - 0.2, -0.8), aspect="equal")


if __name__ == "__main__":
    main()
