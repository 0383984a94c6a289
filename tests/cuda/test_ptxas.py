"""What nvcc makes of the kernels: registers, spills and, where a disassembler is installed, instructions.

Compiling everything for every architecture takes minutes, so FASTCONV_TEST_CUDA=all asks for it. The reports lie in
build/ptxas; only what has changed since is compiled again. `python tests/cuda/test_ptxas.py` prints them as a table.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.timeout(3600)  # the first time compiles everything

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "ptxas"
ARCHITECTURES = ("75", "80", "90a")
HOPPER = ("90a",)  # of sources that use wgmma or TMA

# Registers that a kernel may have; 128 let two blocks of 256 threads run side by side on an SM.
DEFAULT_LIMIT = 128
# A warpgroup has 168 at first, and shares them out anew.
LIMITS = {
    "conv2d_forward_mma": 255,
    "conv2d_backward_input_mma": 255,
    "conv2d_backward_weight_mma": 255,
    "conv2d_forward_wgmma": 168,
    "conv2d_backward_input_wgmma": 168,
    "conv2d_backward_weight_wgmma": 168,
    "wgmma_probe": 168,
    "depthwise_conv2d_backward_weight": 224,
}
# Kernel, the first architecture with the instruction, the instruction.
INSTRUCTIONS = [
    ("conv2d_forward_simt", 80, "LDGSTS"),
    ("conv2d_backward_input_simt", 80, "LDGSTS"),
    ("conv2d_backward_weight_simt", 80, "LDGSTS"),
    ("conv2d_forward_simt", 75, "FFMA"),
    ("stem_conv2d_backward_weight", 80, "LDGSTS"),
    ("stem_conv2d_backward_weight", 75, "FFMA"),
    ("conv2d_forward_mma", 80, "HMMA"),
    ("conv2d_backward_input_mma", 80, "HMMA"),
    ("conv2d_backward_weight_mma", 80, "HMMA"),
    ("conv2d_forward_wgmma", 90, "HGMMA"),
    ("conv2d_forward_wgmma", 90, "UTMALDG.4D.IM2COL"),
    ("conv2d_forward_wgmma", 90, "UTMALDG.3D"),
    ("conv2d_forward_wgmma", 90, "USETMAXREG"),
    ("conv2d_backward_input_wgmma", 90, ".tnspB"),
    ("conv2d_backward_input_wgmma", 90, "UTMALDG.4D.IM2COL"),
    ("conv2d_backward_input_wgmma", 90, "UTMALDG.3D"),
    ("conv2d_backward_input_wgmma", 90, "USETMAXREG"),
    ("conv2d_backward_weight_wgmma", 90, ".tnspA.tnspB"),
    ("conv2d_backward_weight_wgmma", 90, "UTMALDG.4D.IM2COL"),
    ("conv2d_backward_weight_wgmma", 90, "UTMALDG.3D"),
    ("conv2d_backward_weight_wgmma", 90, "USETMAXREG"),
]


class Kernel(NamedTuple):
    """A line of the table."""

    name: str
    symbol: str
    architecture: str
    registers: int
    stack: int
    spill_stores: int
    spill_loads: int


def function_name(symbol: str) -> str:
    """The name without namespaces and template arguments: the last of the lengths and names of a mangled symbol."""
    at, name = 3, symbol  # behind _ZN
    while found := re.match(r"\d+", symbol[at:]):
        start = at + found.end()
        at = start + int(found[0])
        name = symbol[start:at]
    return name


def parse(report: str) -> list[Kernel]:
    """The kernels that ptxas -v tells about; functions that they call have no line of registers and are left out."""
    kernels = []
    symbol = architecture = ""
    frame = (0, 0, 0)
    for line in report.splitlines():
        if found := re.search(r"Compiling entry function '(\S+)' for '(\S+)'", line):
            symbol, architecture = found[1], found[2]
        elif found := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            frame = (int(found[1]), int(found[2]), int(found[3]))
        elif symbol and (found := re.search(r"Used (\d+) registers", line)):
            kernels.append(Kernel(function_name(symbol), symbol, architecture, int(found[1]), *frame))
            symbol = ""
    return kernels


def sources() -> dict[str, tuple[str, ...]]:
    """The drivers that CMake compiles with nvcc, and for which architectures."""
    text = (ROOT / "cmake" / "cuda.cmake").read_text()
    found: dict[str, tuple[str, ...]] = {}
    for variable, architectures in (("SOURCES", ARCHITECTURES), ("HOPPER_SOURCES", HOPPER)):
        listed = re.search(rf"set\(FASTCONV_CUDA_{variable}\s*([^)]*)\)", text)
        assert listed is not None
        found.update(dict.fromkeys((word for word in listed[1].split() if word.endswith(".cu")), architectures))
    return found


def _state(files: list[Path], command: list[str]) -> str:
    digest = hashlib.sha256(" ".join(command).encode())
    for file in files:
        digest.update(file.read_bytes() if file.exists() else b"")
    return digest.hexdigest()


def compile_one(source: str, architecture: str, nvcc: str) -> str:
    """The report of one driver for one architecture; from the last time if nothing has changed since."""
    stem = FOLDER / f"{Path(source).stem}.{architecture}"
    cubin, report, depends, state = (stem.with_name(stem.name + end) for end in (".cubin", ".txt", ".d", ".state"))
    code = f"arch=compute_{architecture},code=sm_{architecture}"
    options = ["-std=c++17", "-O3", "-DNDEBUG", "-DFASTCONV_HOPPER", "-Icsrc", "-gencode", code, "-Xptxas", "-v"]
    command = [nvcc, *options, "-cubin", "-o", str(cubin), "-MD", "-MF", str(depends), source]
    if report.exists() and depends.exists() and state.exists():
        inside = [ROOT / word for word in depends.read_text().replace("\\\n", " ").split() if word.startswith("csrc")]
        if state.read_text() == _state(inside, command):
            return report.read_text()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    inside = [ROOT / word for word in depends.read_text().replace("\\\n", " ").split() if word.startswith("csrc")]
    report.write_text(done.stdout + done.stderr)
    state.write_text(_state(inside, command))
    return report.read_text()


def compile_all() -> list[Kernel]:
    nvcc = os.environ.get("CUDACXX") or shutil.which("nvcc")
    if not nvcc:
        pytest.skip("needs nvcc")
    FOLDER.mkdir(parents=True, exist_ok=True)
    jobs = [(source, architecture) for source, wanted in sources().items() for architecture in wanted]
    with ThreadPoolExecutor(2) as pool:
        reports = pool.map(lambda job: compile_one(*job, nvcc), jobs)
        return [kernel for report in reports for kernel in parse(report)]


@pytest.fixture(scope="module")
def kernels() -> list[Kernel]:
    if os.environ.get("FASTCONV_TEST_CUDA") != "all":
        pytest.skip("compiles every kernel for every architecture: FASTCONV_TEST_CUDA=all")
    return compile_all()


def test_a_report_is_understood() -> None:
    report = """
ptxas info    : Compiling entry function '_ZN8fastconv4cuda11fill_kernelILb1EEEvNS0_17ElementwiseParamsE' for 'sm_80'
ptxas info    : Function properties for _ZN8fastconv4cuda11fill_kernelILb1EEEvNS0_17ElementwiseParamsE
    8 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 17 registers, used 0 barriers, 8 bytes cumulative stack size, 400 bytes cmem[0]
ptxas info    : Function properties for _ZN8fastconv4cuda6helperEv
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
"""
    (kernel,) = parse(report)
    assert kernel.name == "fill_kernel"
    assert kernel[2:] == ("sm_80", 17, 8, 12, 16)


def test_registers_and_spills(kernels: list[Kernel]) -> None:
    assert {kernel.architecture for kernel in kernels} >= {f"sm_{a}" for a in ARCHITECTURES}
    for kernel in kernels:
        assert kernel.registers <= LIMITS.get(kernel.name, DEFAULT_LIMIT), kernel
        assert kernel.spill_stores == kernel.spill_loads == 0, kernel


def test_instructions(kernels: list[Kernel]) -> None:
    """That copies are asynchronous and products are where they belong, as far as the machine code shows it."""
    tool = shutil.which("cuobjdump")
    if tool is None:
        pytest.skip("needs cuobjdump")
    for name, least, instruction in INSTRUCTIONS:
        for cubin in sorted(FOLDER.glob("*.cubin")):
            architecture = cubin.suffixes[-2].removeprefix(".")
            reported = parse(cubin.with_suffix(".txt").read_text())
            if int(architecture[:2]) < least or name not in {kernel.name for kernel in reported}:
                continue
            done = subprocess.run([tool, "-sass", str(cubin)], capture_output=True, text=True, check=True)
            for function in re.split(r"\n\s*Function : ", done.stdout)[1:]:
                if function_name(function.split(maxsplit=1)[0]) == name:
                    assert instruction in function, (name, architecture, function[:200])


if __name__ == "__main__":
    for line in sorted(compile_all()):
        spills = f"{line.spill_stores}/{line.spill_loads}"
        print(
            f"{line.name:36} {line.architecture:7} {line.registers:4} registers, spilled {spills:8} {line.symbol[:150]}"
        )
