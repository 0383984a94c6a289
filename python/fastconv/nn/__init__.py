"""Layers, and models made of them.

Layers declare what they compute; `Sequential` and `Model` connect them to a static graph, and one engine runs it.
"""

from fastconv.nn.activation import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from fastconv.nn.conv2d import Conv2d
from fastconv.nn.conv_transpose2d import ConvTranspose2d
from fastconv.nn.dropout import Dropout
from fastconv.nn.flatten import Flatten
from fastconv.nn.graph import Graph, Input, Node
from fastconv.nn.layer import Layer
from fastconv.nn.linear import Linear
from fastconv.nn.maxout import Maxout
from fastconv.nn.memory_plan import MemoryPlan
from fastconv.nn.merge import Add, Concat
from fastconv.nn.model import Model
from fastconv.nn.parameter import Parameter
from fastconv.nn.pool2d import AvgPool2d, GlobalAvgPool2d, GlobalMaxPool2d, MaxPool2d
from fastconv.nn.sequential import Sequential

__all__ = [
    "ELU",
    "GELU",
    "Add",
    "AvgPool2d",
    "Concat",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "GlobalMaxPool2d",
    "Graph",
    "Input",
    "Layer",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Maxout",
    "MemoryPlan",
    "Model",
    "Node",
    "Parameter",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
]
