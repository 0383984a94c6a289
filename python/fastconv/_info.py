"""`fastconv.info`: what this installation is and runs on."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from fastconv import _core, _threads
from fastconv.cuda import native


@dataclass(frozen=True)
class Info:
    """Facts for a bug report. Fields as attributes, text by `str`.

    Attributes
    ----------
    version, python, numpy, platform : str
    isa_active : str
        Instruction set that the kernels use now.
    isa_available : list of str
        What this CPU and operating system can run.
    threads : int
        The number of threads in use.
    threads_source : str
        The environment variable, call or machine limit that this number comes from.
    openmp, compiler, build_type : str
    cuda : str
        Whether the CUDA part is there, and why not.
    cupy : str
        Whether CuPy is installed, which models on a GPU take their memory from.
    """

    version: str
    python: str
    numpy: str
    platform: str
    isa_active: str
    isa_available: list[str]
    threads: int
    threads_source: str
    openmp: str
    compiler: str
    build_type: str
    cuda: str
    cupy: str

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain data, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = {
            "fastconv": f"{self.version}, Python {self.python}, NumPy {self.numpy}, {self.platform}",
            "instruction set": f"{self.isa_active} (available: {', '.join(self.isa_available)})",
            "threads": f"{self.threads} (from {self.threads_source})",
            "OpenMP": self.openmp,
            "compiler": f"{self.compiler}, {self.build_type}",
            "CUDA": self.cuda,
            "CuPy": self.cupy,
        }
        return "\n".join(f"{name:<16} {text}" for name, text in lines.items())


def info() -> Info:
    """Describe this installation: version, instruction sets, threads and where their number comes from, CUDA.

    Returns
    -------
    Info

    Examples
    --------
    >>> print(fastconv.info())
    """
    build = _core.build_info()
    return Info(
        version=_core.version,
        python=sys.version.split()[0],
        numpy=np.__version__,
        platform=f"{platform.system()} {platform.machine()}",
        isa_active=_core.isa_active(),
        isa_available=_core.isa_available(),
        threads=_core.get_num_threads(),
        threads_source=_threads.source(),
        openmp=build["openmp"],
        compiler=build["compiler"],
        build_type=build["build_type"],
        cuda=native.status(),
        cupy="installed" if find_spec("cupy") else "not installed: models on a GPU need it, fastconv[cuda] has it",
    )
