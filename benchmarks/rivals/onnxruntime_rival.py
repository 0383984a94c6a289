"""ONNX Runtime: a model of one Conv node, weights as a constant, input and output bound in advance."""

from __future__ import annotations

import importlib.util

import numpy as np

from arrays import Arrays, aligned
from rivals.rival import Rival
from shapes import Layer


class OnnxRuntime(Rival):
    name = "onnxruntime"
    package = "onnxruntime"

    @classmethod
    def available(cls) -> bool:
        return super().available() and importlib.util.find_spec("onnx") is not None  # which writes the model

    def __init__(self, layer: Layer, arrays: Arrays, threads: int) -> None:
        import onnx
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper

        kind = TensorProto.DOUBLE if arrays.input.dtype == np.float64 else TensorProto.FLOAT
        node = helper.make_node(
            "Conv",
            ["x", "w"],
            ["y"],
            kernel_shape=layer.kernel,
            strides=layer.stride,
            pads=(*layer.padding, *layer.padding),
            dilations=layer.dilation,
            group=layer.groups,
        )
        graph = helper.make_graph(
            [node],
            "layer",
            [helper.make_tensor_value_info("x", kind, layer.input_shape)],
            [helper.make_tensor_value_info("y", kind, layer.output_shape)],
            [numpy_helper.from_array(arrays.weight, "w")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        x, y = aligned(arrays.input), aligned(arrays.grad_output)
        binding.bind_cpu_input("x", x)
        binding.bind_output("y", "cpu", 0, y.dtype, y.shape, y.ctypes.data)

        def forward() -> object:
            session.run_with_iobinding(binding)
            return y

        self.kept = x  # the binding holds no reference
        self.forward = forward
