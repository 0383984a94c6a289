"""The contestants beside fastconv, by the name that `run.py --rivals` takes. Each runs in a process of its own."""

from __future__ import annotations

from rivals.jax_rival import Jax
from rivals.ncnn_rival import Ncnn
from rivals.numpy_rival import NumpyIm2col, NumpyLoop
from rivals.onnxruntime_rival import OnnxRuntime
from rivals.openvino_rival import OpenVino
from rivals.rival import NotOfferedError, Rival
from rivals.torch_rival import TorchChannelsLast, TorchNchw

# One process a line; the classes are the columns that it measures.
RIVALS: dict[str, tuple[type[Rival], ...]] = {
    "numpy": (NumpyIm2col, NumpyLoop),
    "torch": (TorchNchw, TorchChannelsLast),
    "onnxruntime": (OnnxRuntime,),
    "openvino": (OpenVino,),
    "jax": (Jax,),
    "ncnn": (Ncnn,),
}

__all__ = ["RIVALS", "NotOfferedError", "Rival"]
