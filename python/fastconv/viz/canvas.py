"""A new matplotlib Figure, made without pyplot: no window, no global state, nothing to close."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["new_figure"]


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('pictures need the extra [viz]: pip install "fastconv[viz]"') from error
    return Figure(figsize=(width, height), layout="constrained")
