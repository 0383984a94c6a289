"""A second witness where torch is installed: the same weights give the same outputs and gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import networks
from fastconv.io import torch_names
from fastconv.nn import Model

torch = pytest.importorskip("torch")


class _Residual(torch.nn.Module):
    """networks.residual, in the order of its parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(2, 4, 3, padding=1)
        self.a = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.b = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.c = torch.nn.Conv2d(4, 5, 3, stride=2, padding=1)
        self.shortcut = torch.nn.Conv2d(4, 5, 1, stride=2, bias=False)
        self.head = torch.nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stem = self.stem(x).relu()
        x = (stem + self.b(self.a(stem).relu())).relu()
        x = (self.c(x) + self.shortcut(x)).relu()
        return self.head(x.mean((2, 3)))


def _chain() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3, padding="same"), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(3, 4, 2), torch.nn.ReLU(), torch.nn.AvgPool2d(2, ceil_mode=True),
        torch.nn.Flatten(), torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3),
    )  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs"), [(networks.chain, _chain), (networks.residual, _Residual)])
def test_outputs_and_gradients_are_those_of_torch(
    ours: type[Model], theirs: type, dtype: np.dtype, rng: np.random.Generator
) -> None:
    model, other = ours(dtype=dtype), theirs().to(torch.float32 if dtype == np.float32 else torch.float64)
    names = list(model.named_parameters())
    values = [parameter.detach().numpy() for parameter in other.parameters()]
    model.load_state_dict(dict(zip(names, values, strict=True)))
    x, y = rng.normal(size=(6, 2, 7, 6)).astype(dtype), rng.integers(0, 3, 6)
    model.compile("sgd", "cross_entropy")
    output = other(torch.tensor(x))
    loss = torch.nn.functional.cross_entropy(output, torch.tensor(y))
    loss.backward()
    tolerance = {"rtol": 0, "atol": 1e-5 if dtype == np.float32 else 1e-13}
    np.testing.assert_allclose(model.predict_on_batch(x), output.detach().numpy(), **tolerance)
    assert model.train_on_batch(x, y)["loss"] == pytest.approx(loss.item(), abs=tolerance["atol"])
    for (name, parameter), expected in zip(model.named_parameters().items(), other.parameters(), strict=True):
        np.testing.assert_allclose(parameter.grad, expected.grad.numpy(), err_msg=name, **tolerance)


def test_a_torch_module_gives_its_weights_by_the_order_of_layers(rng: np.random.Generator, tmp_path: Path) -> None:
    model, other = networks.chain(), _chain()
    x = rng.normal(size=(6, 2, 7, 6)).astype(np.float32)
    model.load_state_dict(other.state_dict(), rename="order")
    expected = other(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(model.predict(x), expected, rtol=0, atol=1e-5)
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(other.state_dict(), tmp_path / "theirs.safetensors")
    again = networks.chain(seed=4)
    again.load(tmp_path / "theirs.safetensors", rename=torch_names(model, other.state_dict()))
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    halves = {name: value.to(torch.bfloat16) for name, value in other.state_dict().items()}
    with pytest.raises(ValueError, match="must be an array, got Tensor"):
        again.load_state_dict(halves, rename="order")
