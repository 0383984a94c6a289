"""Cut arrays into batches: shuffled by a seed, exactly resumable, and without allocating after the first batch.

Everything random is a function of (seed, epoch, batch): a loader that is set back to a state gives the same
batches again, and no generator has to be carried along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["BatchLoader", "Transform"]

Transform = Callable[[Any, np.random.Generator], Any]
Columns = NDArray[Any] | Sequence[NDArray[Any]]
Batch = tuple[Any, Any]


class BatchLoader:
    """Batches of `x` and `y`, one epoch per iteration.

    A batch lies in buffers that the next batch overwrites; copy what must last.

    Parameters
    ----------
    x, y
        Arrays with the same number of samples, at least one; or tuples (lists) of such arrays, for models with several
        inputs or outputs, whose batches are tuples then. They are only read.
    batch_size
        Samples in a batch, at least 1; the last batch of an epoch holds what is left.
    shuffle
        A new order each epoch. Default: False.
    seed
        Where the orders come from, 0 or more. Default: 0.
    drop_last
        Leave out a last batch that is not full. Default: False.
    dtype
        Type that batches of `x` (and of a floating `y`) are cast to. Default: their own. Integer `y` become int64.
    transform
        Called as ``transform(x_batch, rng)``; returns the batch to use, of the same shape and type (a tuple, where `x`
        is one).
    """

    def __init__(
        self,
        x: Columns,
        y: Columns,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        dtype: DTypeLike | None = None,
        transform: Transform | None = None,
    ) -> None:
        samples = count_samples("BatchLoader", "x", x)
        labels = count_samples("BatchLoader", "y", y)
        if samples != labels:
            raise ValueError(f"BatchLoader: x and y must hold the same number of samples, got {samples} and {labels}")
        if samples == 0:
            raise ValueError("BatchLoader: x must hold at least one sample, got 0")
        if batch_size < 1:
            raise ValueError(f"BatchLoader: batch_size must be at least 1, got {batch_size}")
        if seed < 0:
            raise ValueError(f"BatchLoader: seed must be at least 0, got {seed}")
        if drop_last and batch_size > samples:
            raise ValueError(
                f"BatchLoader: with drop_last, batch_size must be at most the {samples} samples, got {batch_size}"
            )
        self.batch_size = min(batch_size, samples)
        self.shuffle = shuffle
        self.seed = seed
        floating = None if dtype is None else np.dtype(dtype)
        self._x = _Columns(x, lambda array: floating or array.dtype, self.batch_size)
        integer = np.dtype(np.int64)
        self._y = _Columns(
            y, lambda array: integer if array.dtype.kind in "biu" else floating or array.dtype, self.batch_size
        )
        self._transform = transform
        self.samples = samples
        self._end = samples // batch_size * batch_size if drop_last else samples
        self.start_epoch(0)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-self._end // self.batch_size)

    def start_epoch(self, epoch: int) -> None:
        """Stand before the first batch of `epoch`."""
        self.epoch = epoch
        self.position = 0
        self._order = self._epoch_order(epoch)

    def _epoch_order(self, epoch: int) -> NDArray[np.int64] | None:
        return np.random.default_rng((self.seed, epoch)).permutation(self.samples) if self.shuffle else None

    def __iter__(self) -> Iterator[Batch]:
        """Give the rest of the epoch, or, when nothing is left of it, the next epoch."""
        if self.position >= self._end:
            self.start_epoch(self.epoch + 1)
        return self.rest()

    def rest(self) -> Iterator[Batch]:
        """Give what is left of the epoch; `position` counts a batch as soon as it is given."""
        while self.position < self._end:
            begin = self.position
            end = self.position = min(begin + self.batch_size, self._end)
            rows = slice(begin, end) if self._order is None else self._order[begin:end]
            x, y = self._x.take(rows), self._y.take(rows)
            if self._transform is not None:
                x = self._transform(x, np.random.default_rng((self.seed, self.epoch, begin)))
            yield x, y

    def state(self) -> dict[str, Any]:
        """Return where the loader stands: a tree of numbers and (when shuffled) the order of the epoch."""
        state: dict[str, Any] = {"seed": self.seed, "epoch": self.epoch, "position": self.position}
        return state if self._order is None else state | {"order": self._order.copy()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand where the loader stood that gave `state`; the data must be the same."""
        order = state.get("order")
        if (order is not None) != self.shuffle:
            raise ValueError(
                f"BatchLoader: a state with shuffle={order is not None} does not fit shuffle={self.shuffle}"
            )
        if order is not None and not np.array_equal(np.sort(order), np.arange(self.samples)):
            raise ValueError(f"BatchLoader: the state's order is not one of {self.samples} samples")
        position = int(state["position"])
        if not 0 <= position <= self._end or (position % self.batch_size and position != self._end):
            raise ValueError(f"BatchLoader: position {position} is not the start of a batch of {self.batch_size}")
        self.seed, self.epoch, self.position = int(state["seed"]), int(state["epoch"]), position
        self._order = None if order is None else np.array(order, np.int64)


def check_numbers(op: str, name: str, array: object) -> None:
    """Refuse what is not an array of numbers with a first axis of samples."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{op}: {name} must be a numpy array, got {type(array).__name__}")
    if array.ndim == 0 or array.dtype.kind not in "biuf":
        raise TypeError(
            f"{op}: {name} must hold numbers along a first axis of samples, got {array.dtype} {array.shape}"
        )


def count_samples(op: str, name: str, arrays: object) -> int:
    """Return how many samples an array, or each of a tuple of them, holds; refuse everything else."""
    if not isinstance(arrays, list | tuple) or not all(isinstance(array, np.ndarray) for array in arrays):
        check_numbers(op, name, arrays)
        return len(arrays)  # type: ignore[arg-type]
    if not arrays:
        raise ValueError(f"{op}: {name} must hold at least one array, got none")
    for place, array in enumerate(arrays):
        check_numbers(op, f"{name}[{place}]", array)
        if len(array) != len(arrays[0]):
            raise ValueError(
                f"{op}: all arrays of {name} must hold the same number of samples, got {len(arrays[0])} and "
                f"{len(array)}"
            )
    return len(arrays[0])


class _Columns:
    """One column, or several whose batches are a tuple."""

    def __init__(self, arrays: Columns, dtype: Callable[[NDArray[Any]], np.dtype[Any]], batch_size: int) -> None:
        self.several = isinstance(arrays, list | tuple)
        each: Any = arrays if self.several else [arrays]
        self.columns = [_Column(array, dtype(array), batch_size) for array in each]

    def take(self, rows: slice | NDArray[np.int64]) -> Any:
        taken = tuple(column.take(rows) for column in self.columns)
        return taken if self.several else taken[0]


class _Column:
    """One array and the buffers that its batches lie in: one in its own type, one in the type asked for."""

    def __init__(self, array: NDArray[Any], dtype: np.dtype[Any], batch_size: int) -> None:
        self.array = np.ascontiguousarray(array)
        shape = (batch_size, *array.shape[1:])
        self.taken = np.empty(shape, array.dtype)
        self.cast = self.taken if dtype == array.dtype else np.empty(shape, dtype)

    def take(self, rows: slice | NDArray[np.int64]) -> NDArray[Any]:
        if isinstance(rows, slice):
            count, taken = rows.stop - rows.start, self.array[rows]
        else:
            count = len(rows)
            # mode="clip": the default would check the rows, which are known to be right, in a copy of the output
            taken = np.take(self.array, rows, axis=0, out=self.taken[:count], mode="clip")
        if taken.dtype == self.cast.dtype and taken.dtype.isnative:
            return taken
        result = self.cast[:count]
        np.copyto(result, taken, casting="unsafe")
        return result
