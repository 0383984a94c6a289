"""The error of the CUDA half."""

from __future__ import annotations


class CudaError(RuntimeError):
    """A kernel could not be launched or a device not be used; the text names the kernel, the geometry and the cause."""
