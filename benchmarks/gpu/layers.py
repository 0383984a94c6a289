"""What is measured: layers by class, with the ratio to cuDNN that a release must (gate) and should (goal) reach."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Class:
    """One kind of work; ratios are time(cuDNN) / time(ours), None where bandwidth alone is the aim."""

    name: str
    gate: float | None
    goal: float | None
    copy_gate: float | None = None  # the part of the copy bandwidth to reach


CLASSES = {
    c.name: c
    for c in (
        Class("elementwise", None, None, 0.85),
        Class("max-pool", 1.1, 1.4, 0.80),
        Class("avg-pool", 1.0, 1.2),
        Class("depthwise", 1.2, 1.8, 0.75),
        Class("depthwise wgrad", 0.7, 1.0),
        Class("stem", 1.0, 1.5),
        Class("stem wgrad", 0.8, 1.2),
        Class("3x3 body", 0.55, 0.8),
        Class("1x1, strided, 5x5 body", 0.75, 0.95),
        Class("dgrad", 0.7, 0.9),
        Class("wgrad", 0.7, 0.9),
        Class("small batch in graphs", None, None),  # the aim is that of eager calls, see `calls.py`
        Class("body tf32", 0.55, 0.85),
        Class("body tf32x3", 1.0, 1.4),  # against cuDNN's exact float32: it offers nothing like it
        Class("body 16-bit", 0.5, 0.85),
        Class("dgrad tf32", 0.5, 0.8),
        Class("dgrad tf32x3", 1.0, 1.4),
        Class("dgrad 16-bit", 0.5, 0.8),
        Class("wgrad tf32", 0.4, 0.65),
        Class("wgrad tf32x3", 1.0, 1.4),
        Class("wgrad 16-bit", 0.5, 0.85),
    )
}


@dataclass(frozen=True)
class Case:
    """One operation on one size. `op` is forward, dgrad, wgrad, max-pool, avg-pool or relu; `precision` is how float32
    is multiplied (ieee, tf32, tf32x3), or float16 or bfloat16 arrays."""

    name: str
    kind: str  # of CLASSES
    op: str
    n: int
    c: int
    hw: int
    o: int
    k: int = 1
    stride: int = 1
    padding: int = 0
    groups: int = 1
    precision: str = field(default="ieee", kw_only=True)

    @property
    def short(self) -> bool:
        """Whether arrays are of 16 bits."""
        return self.precision in ("float16", "bfloat16")

    @property
    def out_hw(self) -> int:
        return (self.hw + 2 * self.padding - self.k) // self.stride + 1

    @property
    def elements(self) -> dict[str, int]:
        """Of each array."""
        return {
            "input": self.n * self.c * self.hw**2,
            "weight": self.o * self.c // self.groups * self.k**2 if self.op in ("forward", "dgrad", "wgrad") else 0,
            "output": self.n * self.o * self.out_hw**2,
        }

    @property
    def bytes(self) -> int:
        """Every array moved once."""
        return (2 if self.short else 4) * sum(self.elements.values())

    @property
    def flops(self) -> int:
        """By the definition; pooling and ReLU count none."""
        if self.op not in ("forward", "dgrad", "wgrad"):
            return 0
        return 2 * self.elements["output"] * self.c // self.groups * self.k**2

    def as_dict(self) -> dict[str, Any]:
        return {field: getattr(self, field) for field in self.__dataclass_fields__}


def cases() -> list[Case]:
    """All classes, the sizes of ResNet, MobileNet and of small nets."""
    found: list[Case] = []
    body = [
        ("3x3 64ch 56", 64, 64, 56, 64, 3, 1, 1),
        ("3x3 128ch 28", 64, 128, 28, 128, 3, 1, 1),
        ("3x3 512ch 7", 64, 512, 7, 512, 3, 1, 1),
        ("1x1 64-256 56", 64, 64, 56, 256, 1, 1, 0),
        ("1x1 1024-256 14", 64, 1024, 14, 256, 1, 1, 0),
        ("3x3 s2 128ch 56", 64, 128, 56, 128, 3, 2, 1),
        ("5x5 32-64 28", 64, 32, 28, 64, 5, 1, 2),
    ]
    for name, *size in body:
        kind = "3x3 body" if name.startswith("3x3") and " s2" not in name else "1x1, strided, 5x5 body"
        found.append(Case(name, kind, "forward", *size))
        found += [Case(name, op, op, *size) for op in ("dgrad", "wgrad")]
    for name, n, c, hw, o, k, stride, padding in (
        ("stem 7x7 s2 C3 224", 64, 3, 224, 64, 7, 2, 3),
        ("stem 3x3 C3 32", 512, 3, 32, 64, 3, 1, 1),
        ("stem 5x5 C1 28", 256, 1, 28, 32, 5, 1, 2),
    ):
        found.append(Case(name, "stem", "forward", n, c, hw, o, k, stride, padding))
        found.append(Case(name, "stem wgrad", "wgrad", n, c, hw, o, k, stride, padding))
    for channels, hw, k in ((144, 56, 3), (576, 14, 3), (240, 28, 5)):
        narrow = (64, channels, hw, channels, k, 1, k // 2, channels)
        name = f"depthwise {k}x{k} {channels}ch {hw}"
        found += [Case(name, "depthwise", op, *narrow) for op in ("forward", "dgrad")]
        found.append(Case(name, "depthwise wgrad", "wgrad", *narrow))
    for name, hw, k, stride, padding in (("2x2 s2 64ch 56", 56, 2, 2, 0), ("3x3 s2 64ch 112", 112, 3, 2, 1)):
        found += [Case(name, op, op, 64, 64, hw, 64, k, stride, padding) for op in ("max-pool", "avg-pool")]
    found.append(Case("relu 64ch 56", "elementwise", "relu", 64, 64, 56, 64))
    for n in (1, 8):
        for channels, hw in ((128, 28), (512, 7)):
            name = f"3x3 {channels}ch {hw} N={n}"
            for op in ("forward", "dgrad"):
                found.append(Case(name, "small batch in graphs", op, n, channels, hw, channels, 3, 1, 1))
    for name, *size in (body[0], body[2], body[4], body[5]):
        for precision in ("tf32", "tf32x3", "float16", "bfloat16"):
            kind = "16-bit" if precision.endswith("16") else precision
            for op in ("forward", "dgrad", "wgrad"):
                of = "body" if op == "forward" else op
                found.append(Case(f"{name} {precision}", f"{of} {kind}", op, *size, precision=precision))
    return found


def tiny(case: Case) -> Case:
    """The same operation on a few numbers, for a dry run."""
    c, o = min(case.c, 16), min(case.o, 16)
    hw = min(case.hw, case.k + 4)
    return replace(case, n=1, c=c, hw=hw, o=o, groups=c if case.groups > 1 else 1)
