"""ncnn: one Convolution layer, float32 storage, all its algorithms allowed (Winograd, SGEMM, packing)."""

from __future__ import annotations

import struct

import numpy as np

from arrays import Arrays
from rivals.rival import NotOfferedError, Rival
from shapes import Layer


class Ncnn(Rival):
    name = "ncnn"
    package = "ncnn"
    uses_openmp = True

    def __init__(self, layer: Layer, arrays: Arrays, threads: int) -> None:
        import ncnn

        if layer.batch != 1:
            raise NotOfferedError("one image at a time")
        if arrays.input.dtype != np.float32:
            raise NotOfferedError("float32 only")
        (kh, kw), (sh, sw), (dh, dw), (p, q) = layer.kernel, layer.stride, layer.dilation, layer.padding
        fields = {0: layer.outputs, 1: kw, 11: kh, 2: dw, 12: dh, 3: sw, 13: sh, 4: q, 15: q, 14: p, 16: p, 5: 0}
        fields[6] = arrays.weight.size
        kind = "Convolution"
        if layer.groups > 1:
            kind, fields[7] = "ConvolutionDepthWise", layer.groups
        values = " ".join(f"{number}={value}" for number, value in fields.items())
        text = f"7767517\n2 2\nInput in 0 1 in\n{kind} conv 1 1 in out {values}\n"

        self.net = ncnn.Net()
        options = self.net.opt
        options.num_threads = threads
        options.use_vulkan_compute = False
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_storage = False
        options.use_winograd_convolution = options.use_sgemm_convolution = options.use_packing_layout = True
        if self.net.load_param_mem(text) != 0:
            raise NotOfferedError("it refused the description of the layer")
        # Tag 0: float32 values follow
        self.net.load_model_mem(struct.pack("<I", 0) + arrays.weight.tobytes())
        source = ncnn.Mat(arrays.input[0]).clone()

        def forward() -> object:
            extractor = self.net.create_extractor()
            extractor.input("in", source)
            return extractor.extract("out")[1]

        self.forward = forward

    def as_array(self, value: object) -> np.ndarray:
        return np.array(value)[None]
