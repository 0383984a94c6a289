"""fastconv.torch on tensors of a GPU, against PyTorch on the CPU in float64."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.gpu

GEOMETRY: dict[str, Any] = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}


@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels-last"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_values_and_gradients(gpu: Any, dtype: str, last: bool) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no device")
    fct = pytest.importorskip("fastconv.torch")
    limit = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2}[dtype]
    torch.manual_seed(0)
    memory_format = torch.channels_last if last else torch.contiguous_format
    on_gpu = {"device": "cuda", "dtype": getattr(torch, dtype), "memory_format": memory_format}
    x, w = torch.randn(2, 8, 9, 8).to(**on_gpu).requires_grad_(), torch.randn(16, 4, 3, 2).to(**on_gpu).requires_grad_()
    b = torch.randn(16).to("cuda", on_gpu["dtype"]).requires_grad_()
    exact = [t.detach().double().cpu().requires_grad_() for t in (x, w, b)]
    y = fct.avg_pool2d(fct.max_pool2d(fct.conv2d(x, w, b, **GEOMETRY, activation="relu"), 2), 2)
    expected = torch.nn.functional.conv2d(*exact, **GEOMETRY).relu()
    expected = torch.nn.functional.avg_pool2d(torch.nn.functional.max_pool2d(expected, 2), 2)
    got = (y, *torch.autograd.grad(y.sum(), (x, w, b)))
    right = (expected, *torch.autograd.grad(expected.sum(), exact))
    for ours, theirs in zip(got, right, strict=True):
        assert ours.device.type == "cuda"
        error = (ours.detach().double().cpu() - theirs.detach()).norm() / theirs.detach().norm()
        assert float(error) < limit
