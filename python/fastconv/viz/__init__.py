"""Pictures of training and of what was learnt. Functions that draw return a matplotlib Figure and touch no display.

Needs the extra [viz]; matplotlib is loaded when a picture is made.
"""

from __future__ import annotations

from fastconv.viz.confusion import confusion_matrix_figure
from fastconv.viz.curves import plot_history
from fastconv.viz.filters import show_filters
from fastconv.viz.pictures import sheet, show_images
from fastconv.viz.receptive_field import receptive_field, show_receptive_fields
from fastconv.viz.stepping import save_steps, step_convolution, step_pooling
from fastconv.viz.units import (
    maximal_input,
    most_exciting,
    saliency,
    show_feature_maps,
    show_maximal_inputs,
    show_most_exciting,
    show_saliency,
)

__all__ = [
    "confusion_matrix_figure",
    "maximal_input",
    "most_exciting",
    "plot_history",
    "receptive_field",
    "saliency",
    "save_steps",
    "sheet",
    "show_feature_maps",
    "show_filters",
    "show_images",
    "show_maximal_inputs",
    "show_most_exciting",
    "show_receptive_fields",
    "show_saliency",
    "step_convolution",
    "step_pooling",
]
