"""Go: a policy network learns where the player to move captures the most stones, from 48 planes of the board.

The network is AlphaGo's (D. Silver et al. 2016) with fewer filters; positions are made up, so that the answer is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv import data, schedules, zoo
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
    print(
        f"best move found for {np.mean(ranks == 0):.2%} of {held_out:,} held-out positions, among the best five for "
        f"{np.mean(ranks < 5):.2%}"
    )

    figure = new_figure(12, 4.4)
    for axes, board, scores, move in zip(figure.subplots(1, 3), boards_test, found, moves_test, strict=False):
        draw(axes, board, scores.reshape(board.shape), int(move))
    save(figure, out / "go.png")


def draw(axes: Any, board: np.ndarray, scores: np.ndarray, move: int) -> None:
    """The stones (black to move), where the network would play (red), and the right move (green ring)."""
    size = len(board)
    share = np.exp(scores - scores.max())
    axes.imshow(share / share.sum(), cmap="Reds", vmin=0, vmax=1)
    axes.set_facecolor("0.9")
    for colour, stone in (("black", 1), ("white", -1)):
        row, column = np.nonzero(board == stone)
        axes.scatter(column, row, s=90, c=colour, edgecolors="black", linewidths=0.6)
    axes.scatter(move % size, move // size, s=140, facecolors="none", edgecolors="tab:green", linewidths=2.5)
    axes.set_xticks(range(size), [])
    axes.set_yticks(range(size), [])
    axes.grid(color="0.7", linewidth=0.5)
    axes.set_axisbelow(True)


if __name__ == "__main__":
    main()
