"""Pictures of training and of what was learnt. Each function returns a matplotlib Figure and touches no display.

Needs the extra [viz]; matplotlib is loaded when a picture is made.
"""

from __future__ import annotations

from fastconv.viz.confusion import confusion_matrix_figure
from fastconv.viz.curves import plot_history
from fastconv.viz.filters import show_filters

__all__ = ["confusion_matrix_figure", "plot_history", "show_filters"]
