"""Where lanes run: on the GPU at hand, through PyTorch; or nowhere near one, to see that the script itself runs."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gpu.layers import Case
from gpu.rotation import Rotation, rotation

Call = Callable[[], object]


class Gpu:
    """One GPU, the current one of PyTorch.

    Attributes
    ----------
    torch : module
    cupy : module or None
        None where it is missing; `no_cupy` says why.
    """

    device = "cuda"

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.cupy: Any = None
        self.no_cupy = ""
        try:
            self.cupy = importlib.import_module("cupy")
        except ImportError as error:
            self.no_cupy = f"CuPy is not installed ({error}), and models need it: pip install fastconv[cuda]"
        if self.cupy is not None and not self.cupy.cuda.is_available():
            self.cupy, self.no_cupy = None, f"CuPy {self.cupy.__version__} sees no GPU"

    def facts(self) -> dict[str, Any]:
        properties = self.torch.cuda.get_device_properties(0)
        return {
            "device": properties.name,
            "multiprocessors": properties.multi_processor_count,
            "l2_bytes": properties.L2_cache_size,
        }

    def rotation(self, case: Case) -> Rotation:
        properties = self.torch.cuda.get_device_properties(0)
        return rotation(case.bytes, properties.L2_cache_size, properties.total_memory)

    def ours(self, tensor: Any) -> Any:
        """A tensor as `fastconv.ops` gets it."""
        return tensor

    def theirs(self, result: Any) -> Any:
        """What `fastconv.ops` returned, as PyTorch has it."""
        return result

    def to_cupy(self, values: np.ndarray) -> Any:
        return self.cupy.asarray(values)

    def synchronize(self) -> None:
        self.torch.cuda.synchronize()

    def tidy(self) -> None:
        """After a case: give memory back that a larger one may need."""
        self.torch.cuda.empty_cache()
        if self.cupy is not None:
            self.cupy.get_default_memory_pool().free_all_blocks()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """On a stream of its own, as calls have to run before they are captured."""
        cuda = self.torch.cuda
        side = cuda.Stream()
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            yield
        cuda.current_stream().wait_stream(side)

    def capture(self, run: Call) -> Call:
        """Return a call that replays what `run` does."""
        captured = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.graph(captured):
            run()
        return captured.replay  # type: ignore[no-any-return]

    def seconds(self, call: Call) -> float:
        """Of one call, by events."""
        start, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3


class DryRun(Gpu):
    """The emulator instead of our kernels, PyTorch's CPU instead of cuDNN, calls instead of graphs; no time counts."""

    device = "cpu"

    def __init__(self, torch: Any, tests: Path) -> None:
        self.torch = torch
        sys.path.append(str(tests))
        emulator = importlib.import_module("cuda_emulator")
        self._arrays = importlib.import_module("cuda_arrays")
        self._fake = importlib.import_module("fake_cupy")
        module = emulator.load(emulator.build())
        module.set_emulation(late_landing=False, backwards=False)
        importlib.import_module("fastconv.cuda.native").use(module)
        self._installed = self._fake.installed(module)
        self._installed.__enter__()
        self.cupy: Any = self._fake
        self.no_cupy = ""

    def close(self) -> None:
        self._installed.__exit__(None, None, None)
        importlib.import_module("fastconv.cuda.native").use(None)

    def facts(self) -> dict[str, Any]:
        return {"device": "dry run: no GPU, times mean nothing", "multiprocessors": 0, "l2_bytes": 0}

    def rotation(self, case: Case) -> Rotation:
        return Rotation(2, 2, False)

    def ours(self, tensor: Any) -> Any:
        if tensor.dtype == self.torch.bfloat16:
            raise RuntimeError("a dry run has no bfloat16, as NumPy has none")
        return self._arrays.GpuArray(tensor.numpy())

    def theirs(self, result: Any) -> Any:
        return self.torch.from_numpy(result.array) if isinstance(result, self._arrays.GpuArray) else result

    def to_cupy(self, values: np.ndarray) -> Any:
        return self._fake.asarray(values)

    def synchronize(self) -> None:
        pass

    def tidy(self) -> None:
        pass

    @contextmanager
    def aside(self) -> Iterator[None]:
        yield

    def capture(self, run: Call) -> Call:
        return run

    def seconds(self, call: Call) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
