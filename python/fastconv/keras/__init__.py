"""The spelling of Keras's Sequential listings, over `fastconv.nn`: write `fastconv.keras` where they write `keras`.

Arrays are channels-last, weights start as in Keras (glorot_uniform, zero bias), optimisers have its defaults. The older
spelling, ``Convolution2D(25, 3, 3, input_shape=(1, 28, 28))``, is channels-first. What is not here is an error, never
something else in silence; `model.network` is the `fastconv.nn.Sequential` that does the work.
"""

from __future__ import annotations

from fastconv.keras import datasets, layers, models, optimizers, utils
from fastconv.keras.layers import Input
from fastconv.keras.models import Sequential

__all__ = ["Input", "Sequential", "datasets", "layers", "models", "optimizers", "utils"]
