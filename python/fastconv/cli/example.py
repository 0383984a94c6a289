"""``fastconv example``: run one of the scripts of examples/. And what these scripts share: options, a folder, pictures.

A script is a file with a docstring, whose first line says what it shows, and ``main(arguments)``; without it the file
itself is what runs. They lie beside the
package where it is installed, and in the repository's own folder where it runs from there.
"""

from __future__ import annotations

import argparse
import ast
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastconv

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["example", "names", "new_folder", "parser", "save"]


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every example takes; a script adds its own.

    Options: ``out`` (folder for the results), ``seed``, ``quick`` (a few seconds, to see that it runs: figures mean
    nothing), ``data_dir`` and ``download``.
    """
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    options.add_argument("--out", metavar="DIR", help="folder for the results (default: runs/ and the example's name)")
    options.add_argument("--seed", type=int, default=0, metavar="N", help="start of everything random (default: 0)")
    options.add_argument("--quick", action="store_true", help="a few seconds only, to see that it runs")
    options.add_argument("--data-dir", metavar="DIR", help="folder with the data files (default: $FASTCONV_DATA)")
    options.add_argument("--download", action="store_true", help="fetch missing data files")
    return options


def new_folder(options: argparse.Namespace, name: str) -> Path:
    """Make the folder for the results, if it does not exist, and return it."""
    out = Path("runs") / name if options.out is None else Path(options.out).expanduser()
    out.mkdir(parents=True, exist_ok=True)
    return out


def save(figure: Figure, path: Path) -> None:
    """Write a picture and say so."""
    figure.savefig(path, dpi=120)
    print(f"written  {path}", flush=True)


def example(options: argparse.Namespace) -> int:
    """Run the example that the options name, or list all of them; returns the exit status."""
    if options.name is None:
        for name, path in names().items():
            print(f"{name:<16} {_what(path)}")
        print("\nfastconv example NAME --help tells the options of one.")
        return 0
    found = names()
    if options.name not in found:
        raise ValueError(f"example: name must be one of {', '.join(found)}, got {options.name!r}")
    script: dict[str, Any] = runpy.run_path(str(found[options.name]), run_name=f"fastconv_example_{options.name}")
    if "main" in script:  # a listing without one has run by now
        script["main"](options.rest)
    return 0


def names() -> dict[str, Path]:
    """Return the examples by name."""
    package = Path(fastconv.__file__).parent
    for folder in (package / "examples", package.parents[1] / "examples"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.py"))}
    raise FileNotFoundError(f"example: {package / 'examples'} does not exist; install fastconv again")


def _what(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]
