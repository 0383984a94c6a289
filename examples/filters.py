"""Filters by hand: identity, blur and edges on a photograph, and the convolutions worked out on paper in lectures.

Prints the results of the small examples, which can be checked by hand, and draws the photograph through each filter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv import data, ops, viz
from fastconv.cli.example import new_folder, parser, save

FACE = "0000000 0011100 0111110 0111000 0111110 0011100 0000000"  # seen from the side
FILTERS = {
    "identity": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "blur": [[1 / 9] * 3] * 3,
    "horizontal edges": [[-1, -1, -1], [2, 2, 2], [-1, -1, -1]],
    "vertical edges": [[-1, 2, -1], [-1, 2, -1], [-1, 2, -1]],
    "all edges": [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]],
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__).parse_args(arguments)
    out = new_folder(options, "filters")
    face = np.array([[list(map(float, row)) for row in FACE.split()]], np.float32)
    kernels = {name: np.array(kernel, np.float32)[None, None] for name, kernel in FILTERS.items()}

    for name in ("identity", "blur", "horizontal edges"):
        print(f"{name}, 7x7 -> 5x5" + (" (times 9)" if name == "blur" else ""))
        show(ops.conv2d(face, kernels[name]) * (9 if name == "blur" else 1))
    edges = ops.conv2d(face, kernels["horizontal edges"], activation="relu")
    print("horizontal edges, ReLU, 2x2 max pooling: each number has seen 4x4 = 16 pixels")
    show(ops.max_pool2d(edges, 2))

    # One filter for a photograph in colour: the same kernel on red, green and blue, each by itself (groups=3).
    photo = data.load_photograph().astype(np.float32) / 255
    pictures = [photo]
    for kernel in kernels.values():
        result = ops.conv2d(photo, np.repeat(kernel, 3, axis=0), padding="same", groups=3)
        pictures.append(np.abs(result) if kernel.sum() == 0 else result)
    save(viz.show_images(pictures, ["photograph", *FILTERS], columns=3), out / "filters.png")


def show(maps: np.ndarray) -> None:
    for row in maps[0]:
        print("   " + " ".join(f"{value:4.0f}" for value in row))


if __name__ == "__main__":
    main()
