"""Network: a graph of layers with its parameters: names, start values, dtype, files. `Model` trains and runs it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import DTypeLike

from fastconv._checks import arguments
from fastconv._checks.arguments import Array
from fastconv.nn import device as devices
from fastconv.nn.activation import ReLU
from fastconv.nn.device import CPU, Device
from fastconv.nn.engine import Engine
from fastconv.nn.frame import Shape
from fastconv.nn.graph import Graph, Node
from fastconv.nn.layer import Layer
from fastconv.nn.parameter import Parameter, float_dtype
from fastconv.nn.state import Rename, matching
from fastconv.nn.summary import summary


class Network:
    """What a model is made of; see `Model`."""

    def __init__(
        self,
        inputs: Node | Sequence[Node],
        outputs: Node | Sequence[Node],
        *,
        seed: int | np.random.Generator = 0,
        dtype: DTypeLike = "float32",
        layout: str = "NCHW",
        algo: str = "auto",
    ) -> None:
        self.graph = Graph(*([nodes] if isinstance(nodes, Node) else nodes for nodes in (inputs, outputs)))
        self._dtype = float_dtype("Model", dtype)
        self.layout = arguments.layout("Model", layout)
        self.algo = arguments.own_algorithm("Model", algo)
        self._rng = np.random.default_rng(seed)
        self._engine = Engine(self.graph, self._rng, self.algo)
        self._built = False
        shapes = [node.shape for node in self.graph.inputs]
        if None not in shapes:
            self.build([shape for shape in shapes if shape is not None])

    # Parameters

    def build(self, input_shapes: Sequence[Shape]) -> None:
        """Create and draw all parameters for inputs of these shapes, (C, H, W) or (F,); the first batch does it too."""
        self.graph.infer_shapes([tuple(shape) for shape in input_shapes])
        if self._built:
            return
        for layer in self.graph.layers:
            uses = [node for node in self.graph.nodes if node.layer is layer]
            readers = [reader.layer for node in uses for reader in self.graph.consumers(node)]
            layer.draw_from(self._rng, any(isinstance(reader, ReLU) for reader in readers))
            layer.astype(self._dtype)
        for name, parameter in self.named_parameters().items():
            parameter.name = name
            parameter.to(self._engine.device)
        self._built = True

    def _require_built(self, what: str) -> None:
        if not self._built:
            raise RuntimeError(
                f"Model.{what}: the input's shape is not known yet; call model.build([(C, H, W)]) or give it to Input"
            )

    def named_parameters(self) -> dict[str, Parameter]:
        """Return all parameters, named by layer and role: "conv2d_1.weight"."""
        return {
            f"{name}.{role}": parameter
            for layer, name in self.graph.names.items()
            for role, parameter in layer.parameters().items()
        }

    def parameters(self) -> list[Parameter]:
        return list(self.named_parameters().values())

    @property
    def layers(self) -> dict[str, Layer]:
        """The layers by name, in the order in which they run."""
        return {name: layer for layer, name in self.graph.names.items()}

    def node(self, name: str) -> Node:
        """Return the node of a layer that is used once, or of an input, by name: a feature map to look at."""
        inputs = {node.name: node for node in self.graph.inputs if node.name is not None}
        if name not in self.layers:
            if name in inputs:
                return inputs[name]
            raise ValueError(f"Model.node: name must be one of {', '.join([*self.layers, *inputs])}, got {name!r}")
        nodes = [node for node in self.graph.nodes if node.layer is self.layers[name]]
        if len(nodes) > 1:
            raise ValueError(f"Model.node: {name!r} is used {len(nodes)} times; take a node of model.graph.nodes")
        return nodes[0]

    def point(self, what: str, where: str | Node) -> Node:
        """Return a node of this model, given as it is or by name."""
        if isinstance(where, str):
            return self.node(where)
        if where not in self.graph.nodes:
            raise ValueError(f"Model.{what} must be names or nodes of this model, got {where!r}")
        return where

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype

    def astype(self, dtype: DTypeLike) -> None:
        """Cast all parameters; the optimiser has to start afresh."""
        chosen = float_dtype("Model.astype", dtype)
        if self._engine.device is not CPU and chosen != self._dtype:
            raise ValueError(f"Model.astype: dtype must be {self._dtype} on {self.device}, got {chosen}")
        self._dtype = chosen
        for layer in self.graph.layers:
            layer.astype(self._dtype)
        self._engine.clear()

    @property
    def engine(self) -> Engine:
        """What runs the graph; it is another one after `to`."""
        return self._engine

    @property
    def device(self) -> str:
        """Where parameters lie and programs run: "cpu", "cuda:0"."""
        return self._engine.device.name

    def to(self, device: str, *, precision: str | None = None) -> Self:
        """Move the model, with its gradients, to a GPU or back; returns the model.

        Batches stay NumPy arrays: they are copied over, and results copied back. An optimiser's state follows at its
        next step.

        Parameters
        ----------
        device : "cpu", "cuda" or "cuda:<number>"
            "cuda" is the device that is current in CuPy, whose memory and stream are used.
        precision : {None, "ieee", "tf32", "tf32x3"}, optional
            How convolutions and dense layers multiply float32 on a GPU, in all passes: see `fastconv.cuda.conv2d`.

        Raises
        ------
        RuntimeError
            If the CUDA kernels or a GPU are missing (CudaError), or a layer, a loss or an optimiser of the model cannot
            run there; the text lists them.
        ImportError
            If CuPy is missing.
        ValueError
            For another name, and a model of float64.
        """
        if device != self.device or precision != getattr(self._engine.device, "precision", None):
            self._move(devices.get("Model.to", device, precision))
        return self

    def missing_on_gpu(self) -> list[str]:
        """Return what keeps the model from a GPU, in words; nothing: it can move."""
        problems = {self.graph.names[layer]: layer.missing_on_gpu() for layer in self.graph.layers}
        return [f"layer {name!r} {problem}" for name, problem in problems.items() if problem is not None]

    def _move(self, device: Device) -> None:
        if device.on_gpu:
            if self._dtype != np.float32:
                raise ValueError(f"Model.to: dtype must be float32 on a GPU, got {self._dtype}; call astype first")
            problems = self.missing_on_gpu()
            if problems:
                raise RuntimeError(f"Model.to: cannot run on {device.name}: {'; '.join(problems)}")
        for parameter in self.parameters():
            parameter.to(device)
        self._engine = Engine(self.graph, self._rng, self.algo, device)

    @property
    def rng(self) -> np.random.Generator:
        """The generator of the dropout masks; its state belongs to a checkpoint."""
        return self._rng

    @rng.setter
    def rng(self, generator: np.random.Generator) -> None:
        if not isinstance(generator, np.random.Generator):
            raise TypeError(f"Model: rng must be a numpy.random.Generator, got {arguments.describe(generator)}")
        self._rng = generator
        self._engine = Engine(self.graph, generator, self.algo, self._engine.device)

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters by name."""
        self._require_built("state_dict")
        return {name: parameter.numpy().copy() for name, parameter in self.named_parameters().items()}

    def load_state_dict(
        self, state: Mapping[str, Any], strict: bool = True, rename: Rename | Literal["order"] | None = None
    ) -> None:
        """Take over parameters by name; nothing is changed unless all of it fits.

        Parameters
        ----------
        state : mapping of str to numpy.ndarray
            As `state_dict` returns it, or PyTorch's (CPU tensors are read as arrays); any floating type is cast to the
            model's dtype. Entries called ``num_batches_tracked`` are passed over.
        strict : bool, default True
            Refuse missing and unexpected names.
        rename : mapping, function or "order", optional
            How the state's names become the model's. A mapping holds whole names, or layers ("features.0" to
            "conv2d_1"), and leaves others as they are; a function gets a name. None instead of a name leaves the entry
            out. "order": layers with parameters are matched one after another, see `fastconv.io.torch_names`.

        Raises
        ------
        ValueError
            Lists missing names, unexpected names, wrong shapes, and entries renamed to one name.
        """
        op = "Model.load_state_dict"
        self._require_built("load_state_dict")
        if isinstance(rename, str):
            if rename != "order":
                raise ValueError(
                    f"Model.load_state_dict: rename must be a mapping, a function or 'order', got {rename!r}"
                )
            from fastconv.io.torch_names import match_layers

            rename = match_layers(self.layers, state)
        parameters = self.named_parameters()
        for name, value in matching(op, parameters, state, strict, rename).items():
            parameters[name].data = value

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the parameters as a safetensors file, atomically."""
        from fastconv.io.safetensors import save_file

        self._require_built("save")
        save_file({name: parameter.numpy() for name, parameter in self.named_parameters().items()}, path)

    def load(
        self,
        path: str | os.PathLike[str],
        strict: bool = True,
        rename: Rename | Literal["order"] | None = None,
    ) -> None:
        """Read the parameters from a safetensors file, ours or PyTorch's; see `load_state_dict`."""
        from fastconv.io.safetensors import load_file

        self.load_state_dict(load_file(path)[0], strict, rename)

    # Telling about itself

    def _known_shapes(self, what: str, input_shapes: Sequence[Shape] | None) -> list[Shape]:
        shapes = [node.shape for node in self.graph.inputs] if input_shapes is None else list(input_shapes)
        known = [tuple(shape) for shape in shapes if shape is not None]
        if len(known) != len(self.graph.inputs):
            raise ValueError(
                f"Model.{what}: pass input_shapes=[(C, H, W)], one for each of {len(self.graph.inputs)} inputs"
            )
        if not self._built:
            self.build(known)
        return known

    def summary(self, input_shapes: Sequence[Shape] | None = None) -> str:
        """Return a table: layer, output shape, parameters and FLOPs of one sample, and their totals."""
        return summary(self.graph, self._known_shapes("summary", input_shapes))
