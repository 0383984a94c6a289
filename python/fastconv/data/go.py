"""Go positions with a rule to learn: where does the player to move capture the most stones?

Positions are random (not from games), so that any number can be made in a moment and the right answer is known: the
empty point that takes the last liberty of the most enemy stones. A network has to follow chains of stones to find it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastconv._checks import arguments

__all__ = ["GO_PLANES", "go_planes", "make_go_positions"]

GO_PLANES = 48
_OWN, _ENEMY = 1, -1


def make_go_positions(
    count: int, size: int = 19, *, seed: int | np.random.Generator = 0
) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Make positions in which one point captures more stones than any other.

    Parameters
    ----------
    count
        Number of positions.
    size
        Points along a side of the board, 5 to 19.
    seed
        Where all that is random comes from.

    Returns
    -------
    boards : ndarray, shape (count, size, size), int8
        1 a stone of the player to move, -1 one of the enemy, 0 an empty point. Every chain has a liberty.
    moves : ndarray, shape (count,), int64
        The point, row * size + column, where the player to move captures the most stones.
    """
    op = "make_go_positions"
    count, size = arguments.integer(op, "count", count), arguments.integer(op, "size", size)
    if count < 0 or not 5 <= size <= 19:
        raise ValueError(f"{op}: count must be at least 0 and size 5..19, got {count}, {size}")
    rng = np.random.default_rng(seed)
    boards: list[NDArray[np.int8]] = [np.empty((0, size, size), np.int8)]
    moves: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    found = 0
    while found < count:
        board = _without_dead_chains(_random_boards(512, size, rng))
        gain = _captures(board).reshape(len(board), -1)
        best = np.sort(gain, axis=1)
        clear = best[:, -1] > best[:, -2]  # also: at least one stone is captured
        boards.append(board[clear])
        moves.append(gain[clear].argmax(axis=1))
        found += int(clear.sum())
    return np.concatenate(boards)[:count], np.concatenate(moves)[:count]


def go_planes(boards: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return the planes of the policy network that a single position tells.

    Own stones, enemy stones, empty points, ones; then eight for the number of liberties of the chain at each point (1
    to 7, 8 and more). The others (turns since a move was played, captures, self-atari, ladders, sensible moves) are
    zero: random positions have no past, and the captures are what is to be learnt.

    Parameters
    ----------
    boards
        As `make_go_positions` returns them.

    Returns
    -------
    ndarray, shape (N, 48, size, size), float32

    Reference
    ---------
    D. Silver et al., "Mastering the game of Go with deep neural networks and tree search" (2016), extended data
    table 2.
    """
    if boards.ndim != 3 or boards.dtype.kind not in "if" or not np.isin(boards, (-1, 0, 1)).all():
        raise ValueError(
            f"go_planes: boards must hold -1, 0, 1 in shape (N, size, size), got {arguments.describe(boards)}"
        )
    planes = np.zeros((boards.shape[0], GO_PLANES, *boards.shape[1:]), np.float32)
    planes[:, 0], planes[:, 1], planes[:, 2], planes[:, 3] = boards == _OWN, boards == _ENEMY, boards == 0, 1
    liberties, _ = _liberties(_chains(boards), boards)
    for number in range(1, 9):
        planes[:, 11 + number] = (boards != 0) & ((liberties == number) if number < 8 else (liberties >= number))
    return planes


def _random_boards(count: int, size: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """Stones in clusters: noise, smoothed a little, cut into thirds at random levels."""
    field = rng.standard_normal((count, size, size))
    for axis in (1, 2):
        field = field + 0.8 * (np.roll(field, 1, axis) + np.roll(field, -1, axis)) * rng.random((count, 1, 1))
    field += 0.6 * rng.standard_normal(field.shape)
    empty = rng.uniform(0.2, 0.45, (count, 1, 1))
    low = np.quantile(field.reshape(count, -1), 0.5, axis=1).reshape(count, 1, 1)
    board = np.where(field > low, np.int8(_OWN), np.int8(_ENEMY))
    board[rng.random(board.shape) < empty] = 0
    return board


def _neighbours(padded: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """Views of an array with a border of one: what lies above, below, left and right of each point."""
    return padded[:, :-2, 1:-1], padded[:, 2:, 1:-1], padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]


def _bordered(values: NDArray[np.int64], border: int) -> NDArray[np.int64]:
    return np.pad(values, ((0, 0), (1, 1), (1, 1)), constant_values=border)


def _chains(boards: NDArray[np.int8]) -> NDArray[np.int64]:
    """Number the chains: every point has the smallest index of its chain (empty points their own)."""
    count, size = boards.shape[:2]
    names = np.broadcast_to(np.arange(size * size).reshape(size, size), boards.shape).astype(np.int64)
    colours = boards.astype(np.int64)
    linked = [(near == colours) & (colours != 0) for near in _neighbours(_bordered(colours, 2))]
    while True:
        near = _neighbours(_bordered(names, size * size))
        smaller = np.minimum.reduce(
            [names, *(np.where(same, other, names) for same, other in zip(linked, near, strict=True))]
        )
        smaller = np.take_along_axis(smaller.reshape(count, -1), smaller.reshape(count, -1), 1).reshape(names.shape)
        if np.array_equal(smaller, names):
            return names
        names = smaller


def _liberties(chains: NDArray[np.int64], boards: NDArray[np.int8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the liberties and the stones of the chain at each point."""
    count, points = len(boards), boards.shape[1] * boards.shape[2]
    offset = (np.arange(count) * points)[:, None, None]
    flat = chains + offset
    around = _neighbours(_bordered(np.where(boards != 0, chains, -1).astype(np.int64), -1))
    total = np.zeros(count * points, np.int64)
    for index, chain in enumerate(around):
        counts = (boards == 0) & (chain >= 0)
        for before in around[:index]:  # an empty point is one liberty of a chain, however often it touches it
            counts &= chain != before
        np.add.at(total, (chain + offset)[counts], 1)
    stones = np.bincount(flat[boards != 0], minlength=count * points)
    return total[flat], stones[flat]


def _without_dead_chains(boards: NDArray[np.int8]) -> NDArray[np.int8]:
    liberties, _ = _liberties(_chains(boards), boards)
    return np.where((boards != 0) & (liberties == 0), np.int8(0), boards)


def _captures(boards: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return how many enemy stones the player to move captures at each point."""
    chains = _chains(boards)
    liberties, stones = _liberties(chains, boards)
    in_atari = (boards == _ENEMY) & (liberties == 1)
    around = _neighbours(_bordered(np.where(in_atari, chains, -1).astype(np.int64), -1))
    sizes = _neighbours(_bordered(np.where(in_atari, stones, 0).astype(np.int64), 0))
    gain = np.zeros(boards.shape, np.int64)
    for index, (chain, size) in enumerate(zip(around, sizes, strict=True)):
        counts = (boards == 0) & (chain >= 0)
        for before in around[:index]:
            counts &= chain != before
        gain += np.where(counts, size, 0)
    return gain
