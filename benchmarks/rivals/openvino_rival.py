"""OpenVINO: one convolution compiled for latency on the CPU, in float32 proper, input and output set in advance."""

from __future__ import annotations

from arrays import Arrays, aligned
from rivals.rival import Rival
from shapes import Layer


class OpenVino(Rival):
    name = "openvino"
    package = "openvino"

    def __init__(self, layer: Layer, arrays: Arrays, threads: int) -> None:
        import openvino as ov
        from openvino import opset13 as ops

        source = ops.parameter(layer.input_shape, arrays.input.dtype)
        window = (layer.stride, layer.padding, layer.padding, layer.dilation)
        if layer.groups == 1:
            node = ops.convolution(source, ops.constant(arrays.weight), *window)
        else:
            weight = arrays.weight.reshape(layer.groups, -1, *layer.weight_shape[1:])
            node = ops.group_convolution(source, ops.constant(weight), *window)
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # threads.py does it, the calling thread included
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # or it would compute in bfloat16 where the CPU can
        }
        model = ov.Core().compile_model(ov.Model([node], [source]), "CPU", settings)
        request = model.create_infer_request()
        x, y = aligned(arrays.input), aligned(arrays.grad_output)
        request.set_input_tensor(ov.Tensor(x, shared_memory=True))
        request.set_output_tensor(ov.Tensor(y, shared_memory=True))

        def forward() -> object:
            request.infer(share_outputs=True)
            return y

        self.kept = x, model
        self.forward = forward
