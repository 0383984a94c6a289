"""Made-up Go positions: the rule, checked stone by stone, and the planes."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.data import GO_PLANES, go_planes, make_go_positions

Point = tuple[int, int]


def near(size: int, row: int, column: int) -> list[Point]:
    around = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
    return [(r, c) for r, c in around if 0 <= r < size and 0 <= c < size]


def chain(board: np.ndarray, row: int, column: int) -> tuple[set[Point], set[Point]]:
    """The stones of a chain and its liberties, by walking along it."""
    stones, liberties, todo = {(row, column)}, set(), [(row, column)]
    while todo:
        for point in near(len(board), *todo.pop()):
            if board[point] == 0:
                liberties.add(point)
            elif board[point] == board[row, column] and point not in stones:
                stones.add(point)
                todo.append(point)
    return stones, liberties


def captured(board: np.ndarray, row: int, column: int) -> int:
    taken: set[Point] = set()
    for point in near(len(board), row, column):
        if board[point] == -1:
            stones, liberties = chain(board, *point)
            taken |= stones if len(liberties) == 1 else set()
    return len(taken)


@pytest.mark.parametrize("size", [5, 9, 19])
def test_the_move_captures_more_than_any_other(size: int) -> None:
    boards, moves = make_go_positions(12, size, seed=3)
    assert boards.shape == (12, size, size)
    for board, move in zip(boards, moves, strict=True):
        gains = {p: captured(board, *p) for p in np.ndindex(size, size) if board[p] == 0}
        best = gains.pop(divmod(int(move), size))
        assert best > max(gains.values(), default=0)
        assert all(chain(board, *p)[1] for p in np.ndindex(size, size) if board[p])


def test_planes_tell_stones_and_liberties() -> None:
    boards, _ = make_go_positions(3, 9, seed=1)
    planes = go_planes(boards)
    assert planes.shape == (3, GO_PLANES, 9, 9)
    assert planes.dtype == np.float32
    assert np.array_equal(planes[:, 0] - planes[:, 1], boards)
    assert np.array_equal(planes[:, :3].sum(1), np.ones_like(planes[:, 0]))
    assert np.all(planes[:, 3] == 1)
    assert np.array_equal(planes[:, 12:20].sum(1), boards != 0)
    assert not planes[:, 4:12].any()
    assert not planes[:, 20:].any()
    for n, r, c in zip(*np.nonzero(boards), strict=True):
        assert planes[n, 11 + min(8, len(chain(boards[n], r, c)[1])), r, c] == 1


def test_the_same_seed_gives_the_same_positions() -> None:
    first, second = make_go_positions(5, 9, seed=7), make_go_positions(5, 9, seed=7)
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert len(make_go_positions(0)[0]) == 0


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="size 5..19, got 3, 20"):
        make_go_positions(3, 20)
    with pytest.raises(TypeError, match="count must be an integer"):
        make_go_positions(2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="boards must hold -1, 0, 1"):
        go_planes(np.full((1, 9, 9), 3, np.int8))
