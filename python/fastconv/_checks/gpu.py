"""Whether an array lies on a GPU, judged by what it says of itself."""

from __future__ import annotations

import sys

import numpy as np

_DLPACK_CUDA, _DLPACK_MANAGED = 2, 13


def is_on_gpu(value: object) -> bool:
    """Whether somebody else's array says that it lies on an NVIDIA GPU; nothing is imported for it."""
    if isinstance(value, np.ndarray):
        return False
    is_cuda = getattr(value, "is_cuda", None)  # PyTorch's, and quicker than its DLPack
    if isinstance(is_cuda, bool):
        return is_cuda
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(value, getattr(cupy, "ndarray", ())):
        return True  # asking it for its DLPack device asks the driver
    device = getattr(value, "__dlpack_device__", None)
    if device is not None and not isinstance(value, type):
        try:
            return bool(device()[0] in (_DLPACK_CUDA, _DLPACK_MANAGED))
        except (BufferError, RuntimeError, TypeError, ValueError):
            return False  # memory that DLPack has no word for is not a GPU's
    return hasattr(value, "__cuda_array_interface__")
