"""What decides a training run: options of the command line over a stored run or a recipe; kept as run.json."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from fastconv import zoo
from fastconv.io import atomic_write

__all__ = ["Settings"]

_FILE = "run.json"
_DEFAULT_MODEL = {"digits": "digits_cnn", "mnist": "keras_mnist", "fashion-mnist": "fashion_cnn", "cifar10": "resnet20"}


@dataclass(frozen=True, kw_only=True)
class Settings(zoo.Recipe):
    """Everything that the result depends on, beside the data themselves."""

    data: str
    model: str
    seed: int

    @classmethod
    def choose(cls, options: argparse.Namespace) -> Settings:
        """Take the given options, and the recipe for what is not given."""
        data = options.data or "digits"
        model = options.model or _DEFAULT_MODEL[data]
        settings = cls(data=data, model=model, seed=0, **asdict(zoo.recipe(model, data)))
        return settings.override(options)

    def override(self, options: argparse.Namespace) -> Settings:
        """Return these settings with the given options in place of their own."""
        given = {field.name: getattr(options, field.name, None) for field in fields(self)}
        given["learning_rate"] = options.lr
        return Settings(**asdict(self) | {name: value for name, value in given.items() if value is not None})

    def store(self, folder: Path) -> None:
        """Write run.json."""
        with atomic_write(folder / _FILE) as file:
            file.write((json.dumps(asdict(self), indent=2) + "\n").encode())

    @classmethod
    def stored(cls, folder: Path) -> Settings:
        """Read run.json."""
        path = folder / _FILE
        if not path.is_file():
            raise FileNotFoundError(f"--resume: {folder} holds no {_FILE}; --out must name the folder of a run")
        try:
            values = json.loads(path.read_text())
            values["shift"] = tuple(values["shift"])
            kinds = {"epochs": int, "batch_size": int, "shift": tuple, "flip": bool, "seed": int}
            kinds |= {"learning_rate": float, "weight_decay": float}
            wrong = [f.name for f in fields(cls) if type(values[f.name]) is not kinds.get(f.name, str)]
            if wrong or len(values) != len(fields(cls)):
                raise ValueError(f"wrong values: {', '.join(wrong) or 'unknown names'}")
            return cls(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"--resume: {path} is damaged ({error!r})") from None

    def __str__(self) -> str:
        down, across = self.shift
        decay = f", weight decay {self.weight_decay:g}" if self.weight_decay else ""
        shift = f", random shifts by {down} x {across} pixels" if down or across else ""
        shift += " and flips" if shift and self.flip else ", random flips" if self.flip else ""
        return (
            f"{self.epochs} epoch{'s' * (self.epochs > 1)}, batches of {self.batch_size}, {self.optimizer}, "
            f"learning rate {self.learning_rate:g} ({self.schedule}){decay}{shift}, seed {self.seed}"
        )
