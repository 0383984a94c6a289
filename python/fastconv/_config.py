"""Process-wide settings: `fastconv.config`."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Algorithm: TypeAlias = Literal["auto", "direct", "winograd"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)


class Config:
    """Settings that every call of the process reads.

    Attributes
    ----------
    strict : bool, default False
        Raise RuntimeError where `fastconv.explain` would report a slow path: a copy forced by an array's strides or
        alignment, or a generic kernel.
    algo : str, default "auto"
        What `algo="auto"` means: the library's choice ("auto"), or one algorithm for every call; "direct": sums as the
        definition writes them; "winograd": Winograd's wherever it can compute a convolution.
    """

    __slots__ = ("_algo", "_strict")

    def __init__(self) -> None:
        self._strict = False
        self._algo: Algorithm = "auto"

    @property
    def strict(self) -> bool:
        return self._strict

    @strict.setter
    def strict(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise TypeError(f"config: strict must be True or False, got {value!r}")
        self._strict = value

    @property
    def algo(self) -> Algorithm:
        return self._algo

    @algo.setter
    def algo(self, value: Algorithm) -> None:
        if value not in ALGORITHMS:
            raise ValueError(f"config: algo must be one of {', '.join(map(repr, ALGORITHMS))}, got {value!r}")
        self._algo = value

    def __repr__(self) -> str:
        return f"fastconv.config(strict={self._strict}, algo={self._algo!r})"


config = Config()
