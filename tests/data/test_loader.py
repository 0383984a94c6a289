"""The batch loader: what is in a batch, the order, the state, and that it does not allocate."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from fastconv.data import BatchLoader, RandomShift

X = np.arange(20, dtype=np.uint8).reshape(10, 2)
Y = np.arange(10, dtype=np.uint8)


def epoch_of(loader: BatchLoader) -> list[tuple[list[int], list[Any]]]:
    return [(y.tolist(), x.tolist()) for x, y in loader]


def test_batches_in_order() -> None:
    loader = BatchLoader(X, Y, 4)
    assert len(loader) == 3
    assert [labels for labels, _ in epoch_of(loader)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [labels for labels, _ in epoch_of(loader)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_drop_last() -> None:
    loader = BatchLoader(X, Y, 4, drop_last=True)
    assert len(loader) == 2
    assert [len(labels) for labels, _ in epoch_of(loader)] == [4, 4]


def test_a_batch_larger_than_the_data_is_all_of_them() -> None:
    assert [len(labels) for labels, _ in epoch_of(BatchLoader(X, Y, 99))] == [10]


def test_shuffled_epochs_hold_everything_once_and_differ() -> None:
    loader = BatchLoader(X, Y, 3, shuffle=True, seed=5)
    epochs = [epoch_of(loader) for _ in range(3)]
    orders = [[label for labels, _ in epoch for label in labels] for epoch in epochs]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    assert all(
        row == [2 * label, 2 * label + 1]
        for epoch in epochs
        for ys, xs in epoch
        for label, row in zip(ys, xs, strict=True)
    )
    assert epoch_of(BatchLoader(X, Y, 3, shuffle=True, seed=5)) == epochs[0]
    assert epoch_of(BatchLoader(X, Y, 3, shuffle=True, seed=6)) != epochs[0]


def test_casts_to_the_type_asked_for() -> None:
    for shuffle in (False, True):
        x, y = next(iter(BatchLoader(X, Y, 4, dtype=np.float32, shuffle=shuffle)))
        assert (x.dtype, y.dtype) == (np.float32, np.int64)
        np.testing.assert_array_equal(x[:, 0], 2 * y)
        x, y = next(iter(BatchLoader(X, Y.astype(np.float64), 4, dtype=np.float32, shuffle=shuffle)))
        assert y.dtype == np.float32


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("done", [0, 1, 2, 3, 4, 5])
def test_a_restored_loader_gives_the_same_batches(shuffle: bool, done: int) -> None:
    images = np.random.default_rng(0).random((10, 1, 5, 5), np.float32)

    def loader(seed: int) -> BatchLoader:
        return BatchLoader(images, Y, 4, shuffle=shuffle, seed=seed, transform=RandomShift(2))

    def take(source: BatchLoader, count: int) -> list[tuple[list[int], bytes]]:
        batches = []
        while len(batches) < count:
            for x, y in source:
                batches.append((y.tolist(), x.tobytes()))
                if len(batches) == count:
                    break
        return batches

    first = loader(seed=3)
    take(first, done)
    second = loader(seed=99)
    second.restore(first.state())
    assert take(second, 7) == take(first, 7)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"order": np.zeros(10, np.int64)}, "order is not one of 10 samples"),
        ({"order": np.arange(9)}, "order is not one of 10 samples"),
        ({"order": None}, "does not fit shuffle=True"),
        ({"position": 3}, "not the start of a batch of 4"),
        ({"position": 12}, "not the start of a batch of 4"),
    ],
)
def test_refuses_a_state_of_something_else(change: dict[str, Any], text: str) -> None:
    loader = BatchLoader(X, Y, 4, shuffle=True)
    with pytest.raises(ValueError, match=text):
        loader.restore(loader.state() | change)


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_are_not_allocated(shuffle: bool) -> None:
    loader = BatchLoader(np.zeros((64, 100_000), np.uint8), np.zeros(64), 16, shuffle=shuffle, dtype=np.float32)
    batches = iter(loader)
    next(batches)
    tracemalloc.start()
    for _ in batches:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_reads_any_memory_layout() -> None:
    x, _ = next(iter(BatchLoader(np.asfortranarray(X)[::-1], Y, 4)))
    np.testing.assert_array_equal(x, X[::-1][:4])
    assert x.flags.c_contiguous


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((X, Y[:9], 4), ValueError, "same number of samples, got 10 and 9"),
        ((X[:0], Y[:0], 4), ValueError, "at least one sample"),
        ((X, Y, 0), ValueError, "batch_size must be at least 1, got 0"),
        ((X.tolist(), Y, 4), TypeError, "x must be a numpy array, got list"),
        ((X, np.array(3), 4), TypeError, r"y must hold .*, got int64 \(\)"),
        ((X, np.array(["a"] * 10), 4), TypeError, "y must hold numbers .*, got <U1"),
    ],
)
def test_bad_arguments(arguments: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        BatchLoader(*arguments)


def test_bad_options() -> None:
    with pytest.raises(ValueError, match="seed must be at least 0"):
        BatchLoader(X, Y, 4, seed=-1)
    with pytest.raises(ValueError, match="at most the 10 samples, got 11"):
        BatchLoader(X, Y, 11, drop_last=True)


def test_tuples_of_arrays_give_tuples_of_batches() -> None:
    second, third = X.astype(np.float64) + 0.5, Y * 0.25
    loader = BatchLoader((X, second), [Y, third], 4, shuffle=True, seed=3, dtype=np.float32)
    seen = 0
    for (one, two), (label, figure) in loader:
        assert (one.dtype, two.dtype, label.dtype, figure.dtype) == (np.float32, np.float32, np.int64, np.float32)
        np.testing.assert_array_equal(one[:, 0], 2 * label)
        np.testing.assert_array_equal(two, one + 0.5)
        np.testing.assert_array_equal(figure, label * 0.25)
        seen += len(one)
    assert seen == len(loader) * 4 - 2 == 10
    (one,), _ = next(iter(BatchLoader((X,), Y, 4, transform=lambda x, rng: (x[0] + 1,))))
    np.testing.assert_array_equal(one, X[:4] + 1)


@pytest.mark.parametrize(
    ("x", "y", "error", "text"),
    [
        ((X, X[:3]), Y, ValueError, "all arrays of x must hold the same number of samples, got 10 and 3"),
        ((X, X), (Y[:4], Y[:4]), ValueError, "x and y must hold the same number of samples, got 10 and 4"),
        ((), Y, ValueError, "x must hold at least one array, got none"),
        ((X[:0], X[:0]), (Y[:0],), ValueError, "x must hold at least one sample, got 0"),
        ((X, np.array(["a"] * 10)), Y, TypeError, r"x\[1\] must hold numbers"),
        ((X, [1.0] * 10), Y, TypeError, "x must be a numpy array, got tuple"),
    ],
)
def test_tuples_that_do_not_fit_are_refused(x: Any, y: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        BatchLoader(x, y, 4)
