"""Step by step: one convolution and one pooling, number by number, as frames and as an animated file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv import viz
from fastconv.cli.example import new_folder, parser, save

CROSSES = "100001 010010 001100 100010 010010 001010"
DIAGONAL = [[1, -1, -1], [-1, 1, -1], [-1, -1, 1]]


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__).parse_args(arguments)
    out = new_folder(options, "steps")
    image = np.array([list(map(float, row)) for row in CROSSES.split()])
    kernel = np.array(DIAGONAL, np.float64)

    steps = 4 * 4
    shown = range(0, steps, 5) if options.quick else range(steps)
    for step in shown:
        save(viz.step_convolution(image, kernel, step), out / f"convolution-{step:02}.png")
    viz.save_steps((viz.step_convolution(image, kernel, step) for step in shown), out / "convolution.gif")
    result = np.array([[3, -1, -3, -1], [-3, 1, 0, -3], [-3, -3, 0, 1], [3, -2, -2, -1]], np.float64)
    for step in range(4):
        save(viz.step_pooling(result, 2, step), out / f"pooling-{step}.png")
    viz.save_steps((viz.step_pooling(result, 2, step) for step in range(4)), out / "pooling.gif")
    print(f"written  {out / 'convolution.gif'}, {out / 'pooling.gif'}")


if __name__ == "__main__":
    main()
