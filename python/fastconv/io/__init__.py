"""Files: weights in the safetensors format, and writing that never leaves half a file."""

from __future__ import annotations

from fastconv.io.atomic import atomic_write
from fastconv.io.safetensors import load_file, save_file
from fastconv.io.torch_names import torch_names

__all__ = ["atomic_write", "load_file", "save_file", "torch_names"]
