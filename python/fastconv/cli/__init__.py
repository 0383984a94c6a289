"""The command ``fastconv``: info, train, predict, example.

Exit status: 0 done, 1 an error (one line says which), 2 a wrong option, 128 + signal when interrupted.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence

import fastconv

__all__ = ["main"]

_DATA = ("digits", "mnist", "fashion-mnist", "cifar10")
_OPTIMIZERS = ("sgd", "rmsprop", "adam", "adamw")
_SCHEDULES = ("constant", "step", "exponential", "cosine", "one_cycle")
_MODELS = ("digits_cnn", "mlp", "lenet5", "cnn_6_12", "keras_mnist", "conv25_50", "fashion_cnn", "all_conv", "resnet20")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    arguments
        Words after the name of the command. Default: those of this process.
    """
    options = _parser().parse_args(arguments)
    try:
        if getattr(options, "threads", None) is not None:
            fastconv.set_num_threads(options.threads)
        status: int = options.command(options)
        return status
    except KeyboardInterrupt as interrupt:
        print(f"\nfastconv: {str(interrupt) or 'interrupted'}", file=sys.stderr)
        return 128 + int(getattr(interrupt, "signal_number", signal.SIGINT))
    except BrokenPipeError:  # the reader of our output has gone, as in `fastconv info | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, ImportError, RuntimeError, MemoryError) as error:
        print(f"fastconv: {str(error) or type(error).__name__}", file=sys.stderr)
        return 1


def _info(options: argparse.Namespace) -> int:
    print(fastconv.info())
    return 0


def _train(options: argparse.Namespace) -> int:
    from fastconv.cli.train import train

    return train(options)


def _predict(options: argparse.Namespace) -> int:
    from fastconv.cli.predict import predict

    return predict(options)


def _example(options: argparse.Namespace) -> int:
    from fastconv.cli.example import example

    return example(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastconv", description="Fast convolutions: train and use small networks.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"fastconv {fastconv.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    info = commands.add_parser("info", help="say what this installation is and runs on")
    info.set_defaults(command=_info)
    _add_train(commands.add_parser("train", help="train a network", allow_abbrev=False))
    _add_predict(commands.add_parser("predict", help="use a trained network", allow_abbrev=False))
    _add_example(commands.add_parser("example", help="run an example: networks, recipes, pictures"))
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train a network. Without options: a small one on the digits that come with the package. What is not given "
        "comes from the recipe for the network and the data."
    )
    parser.set_defaults(command=_train)
    parser.add_argument("--model", choices=_MODELS, help="network (default: one that suits the data)")
    _add_data(parser, "data set (default: digits, which need no download)")
    parser.add_argument("--epochs", type=_whole_number(1), metavar="N", help="passes over the training images")
    parser.add_argument("--batch-size", type=_whole_number(1), metavar="N", help="images in a batch")
    parser.add_argument("--optimizer", choices=_OPTIMIZERS)
    parser.add_argument("--lr", type=_positive_number, metavar="RATE", help="largest learning rate of the run")
    parser.add_argument("--schedule", choices=_SCHEDULES, help="course of the learning rate")
    parser.add_argument("--seed", type=_whole_number(0), metavar="N", help="start of everything random (default: 0)")
    parser.add_argument("--out", metavar="DIR", help="folder for the results (default: a new one under runs/)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out, with its options")
    _add_device(parser)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.description = "Say what a trained network sees: on image files, or on a data set's held-out images."
    parser.set_defaults(command=_predict)
    parser.add_argument("weights", help="weights.safetensors, or the folder that fastconv train wrote")
    parser.add_argument("images", nargs="*", help="image files: .npy, idx, PGM (default: the held-out images)")
    _add_data(parser, "whose held-out images (default: those of the data set it was trained on)")
    _add_device(parser)


def _add_example(parser: argparse.ArgumentParser) -> None:
    parser.description = "Run one of the examples; without a name: list them."
    parser.set_defaults(command=_example)
    parser.add_argument("name", nargs="?", metavar="NAME", help="which one")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="its options; --help tells them")


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", default="cpu", metavar="DEVICE", help="cpu, or cuda or cuda:1: a GPU, with CuPy (default: cpu)"
    )


def _add_data(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--data", choices=_DATA, help=text)
    parser.add_argument("--data-dir", metavar="DIR", help="folder with the data files (default: $FASTCONV_DATA)")
    parser.add_argument("--download", action="store_true", help="fetch missing data files")
    parser.add_argument("--threads", type=_whole_number(1), metavar="N", help="threads to use")


def _whole_number(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= least):
            raise argparse.ArgumentTypeError(f"must be a whole number from {least}, got {text!r}")
        return int(text)

    return parse


def _positive_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text!r}")
    return number
