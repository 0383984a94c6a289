"""Layers, and models made of them.

Layers declare what they compute; `Sequential` and `Model` connect them to a static graph, and one engine runs it.
"""

from fastconv.nn.activation import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from fastconv.nn.adaptive_pool2d import AdaptiveAvgPool2d, AdaptiveMaxPool2d
from fastconv.nn.batch_norm import BatchNorm1d, BatchNorm2d
from fastconv.nn.bias import Bias
from fastconv.nn.conv2d import Conv2d
from fastconv.nn.conv_transpose2d import ConvTranspose2d
from fastconv.nn.dropout import Dropout, Dropout2d
from fastconv.nn.flatten import Flatten
from fastconv.nn.graph import Graph, Input, Node
from fastconv.nn.group_norm import GroupNorm
from fastconv.nn.layer import Layer
from fastconv.nn.layer_norm import LayerNorm
from fastconv.nn.linear import Linear
from fastconv.nn.local_response_norm import LocalResponseNorm
from fastconv.nn.lp_pool2d import LpPool2d
from fastconv.nn.max_unpool2d import MaxUnpool2d
from fastconv.nn.maxout import Maxout
from fastconv.nn.memory_plan import MemoryPlan
from fastconv.nn.merge import Add, Concat
from fastconv.nn.model import Model
from fastconv.nn.modulate import AddChannels, Multiply, ScaleShift
from fastconv.nn.pad2d import Crop, CropLike, Pad
from fastconv.nn.parameter import Parameter
from fastconv.nn.pixel_shuffle import PixelShuffle, PixelUnshuffle
from fastconv.nn.pool2d import AvgPool2d, GlobalAvgPool2d, GlobalMaxPool2d, MaxPool2d
from fastconv.nn.reshape import Reshape
from fastconv.nn.sequential import Sequential
from fastconv.nn.sinusoidal_embedding import SinusoidalEmbedding
from fastconv.nn.upsample import Upsample
from fastconv.nn.weighted_pool2d import WeightedPool2d

__all__ = [
    "ELU",
    "GELU",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "Add",
    "AddChannels",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Bias",
    "Concat",
    "Conv2d",
    "ConvTranspose2d",
    "Crop",
    "CropLike",
    "Dropout",
    "Dropout2d",
    "Flatten",
    "GlobalAvgPool2d",
    "GlobalMaxPool2d",
    "Graph",
    "GroupNorm",
    "Input",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "LpPool2d",
    "MaxPool2d",
    "MaxUnpool2d",
    "Maxout",
    "MemoryPlan",
    "Model",
    "Multiply",
    "Node",
    "Pad",
    "Parameter",
    "PixelShuffle",
    "PixelUnshuffle",
    "ReLU",
    "Reshape",
    "ScaleShift",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SinusoidalEmbedding",
    "Softmax",
    "Softplus",
    "Tanh",
    "Upsample",
    "WeightedPool2d",
]
