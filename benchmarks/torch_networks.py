"""Networks of the zoo in PyTorch, as one would write them there; parameters have our names, and load our state."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def lenet5(nn: Any) -> Any:
    conv, pool = nn.Conv2d, nn.MaxPool2d
    return _chain(
        nn, conv1=conv(1, 6, 5, padding=2), relu1=nn.ReLU(), pool1=pool(2), conv2=conv(6, 16, 5), relu2=nn.ReLU(),
        pool2=pool(2), flatten=nn.Flatten(), dense1=nn.Linear(400, 120), relu3=nn.ReLU(), dense2=nn.Linear(120, 84),
        relu4=nn.ReLU(), dense3=nn.Linear(84, 10),
    )  # fmt: skip


def keras_mnist(nn: Any) -> Any:
    conv, pool = nn.Conv2d, nn.MaxPool2d
    return _chain(
        nn, conv1=conv(1, 32, 3), relu1=nn.ReLU(), pool1=pool(2), conv2=conv(32, 64, 3), relu2=nn.ReLU(),
        pool2=pool(2), conv3=conv(64, 64, 3), relu3=nn.ReLU(), flatten=nn.Flatten(), dense1=nn.Linear(576, 64),
        relu4=nn.ReLU(), dense2=nn.Linear(64, 10),
    )  # fmt: skip


def resnet20(nn: Any) -> Any:
    def conv_bn(inputs: int, channels: int, size: int, stride: int = 1) -> tuple[Any, Any]:
        convolution = nn.Conv2d(inputs, channels, size, stride, size // 2, bias=False)
        return convolution, nn.BatchNorm2d(channels)

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self, inputs: int, channels: int, stride: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = conv_bn(inputs, channels, 3, stride)
            self.conv2, self.bn2 = conv_bn(channels, channels, 3)
            changes = stride != 1 or inputs != channels
            self.downsample = nn.Sequential(*conv_bn(inputs, channels, 1, stride)) if changes else None

        def forward(self, x: Any) -> Any:
            y = self.bn1(self.conv1(x)).relu_()
            y = self.bn2(self.conv2(y))
            return (y + (x if self.downsample is None else self.downsample(x))).relu_()

    class ResNet20(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = conv_bn(3, 16, 3)
            before = 16
            for stage in range(3):
                blocks = [
                    Block(before if n == 0 else 16 << stage, 16 << stage, 2 if stage and n == 0 else 1)
                    for n in range(3)
                ]
                setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
                before = 16 << stage
            self.fc = nn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            x = self.bn1(self.conv1(x)).relu_()
            x = self.layer3(self.layer2(self.layer1(x)))
            return self.fc(x.mean((2, 3)))

    return ResNet20()


NETWORKS: dict[str, Callable[[Any], Any]] = {"lenet5": lenet5, "keras_mnist": keras_mnist, "resnet20": resnet20}


def _chain(nn: Any, **layers: Any) -> Any:
    return nn.Sequential(OrderedDict(layers))


def build(torch: Any, network: str, state: Mapping[str, np.ndarray], channels_last: bool, device: str = "cpu") -> Any:
    """Return a network with these parameters, ready to be trained."""
    model = NETWORKS[network](torch.nn)
    found = model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in state.items()}, strict=False)
    wrong = [name for name in [*found.missing_keys, *found.unexpected_keys] if not name.endswith("num_batches_tracked")]
    if wrong:
        raise AssertionError(f"{network}: PyTorch's parameters are others than ours: {', '.join(wrong)}")
    memory = torch.channels_last if channels_last else torch.contiguous_format
    return model.to(device=device, memory_format=memory)
