"""Small networks for the tests of models: every kind of join, fan-out, sharing and fusion in one place."""

from __future__ import annotations

from collections.abc import Callable

from fastconv.nn import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    GlobalMaxPool2d,
    Input,
    Linear,
    MaxPool2d,
    Model,
    ReLU,
    Sequential,
    Softmax,
)


def chain(**options: object) -> Model:
    """What the classic listings look like; both spellings of the ReLU."""
    return Sequential(
        Conv2d(2, 3, 3, padding="same"), ReLU(), MaxPool2d(2),
        Conv2d(None, 4, 2, activation="relu"), AvgPool2d(2, ceil_mode=True),
        Flatten(), Linear(None, 6), ReLU(), Linear(None, 3),
        input_shape=(2, 7, 6), **options,
    )  # fmt: skip


def overlapping_pool(**options: object) -> Model:
    """Windows overlap, so that a pixel of the convolution gets several gradients."""
    return Sequential(
        Conv2d(2, 4, 3, groups=2, bias=False), ReLU(), MaxPool2d(3, stride=1, padding=1), GlobalMaxPool2d(),
        Linear(4, 3), input_shape=(2, 7, 6), **options,
    )  # fmt: skip


def residual(**options: object) -> Model:
    """Two residual blocks, the second with a convolution on its shortcut."""
    x = Input((2, 7, 6))
    stem = Conv2d(None, 4, 3, padding=1, activation="relu")(x)
    branch = Conv2d(None, 4, 3, padding=1)(Conv2d(None, 4, 3, padding=1, activation="relu")(stem))
    block = ReLU()(Add()(stem, branch))
    branch = Conv2d(None, 5, 3, stride=2, padding=1)(block)
    block = ReLU()(Add()(branch, Conv2d(None, 5, 1, stride=2, bias=False)(block)))
    return Model(x, Linear(None, 3)(GlobalAvgPool2d()(block)), **options)


def inception(**options: object) -> Model:
    """Fan-out to branches of different channels, concatenated; the input itself is one of them."""
    x = Input((2, 7, 6))
    branches = [
        Conv2d(None, 3, 1, activation="relu")(x),
        Conv2d(None, 2, 3, padding=1)(Conv2d(None, 3, 1)(x)),
        MaxPool2d(3, stride=1, padding=1)(x),
    ]
    joined = Concat()(*branches)
    return Model(x, Linear(None, 3)(Flatten()(ReLU()(Concat()(joined, x)))), **options)


def shared(**options: object) -> Model:
    """One layer used three times, and a sum that takes one node three times."""
    x = Input((2, 7, 6))
    conv = Conv2d(2, 2, 3, padding=1, name="again")
    once = conv(x)
    twice = conv(ReLU()(once))
    third = conv(twice)
    return Model(x, Linear(None, 3)(Flatten()(Add()(third, once, third, third))), **options)


def two_by_two(**options: object) -> Model:
    """Two inputs and two outputs; the second output is an image."""
    image, vector = Input((2, 7, 6), name="image"), Input((5,), name="vector")
    features = Conv2d(None, 3, 3, activation="relu")(image)
    joined = Concat()(Flatten()(features), Linear(None, 4, activation="relu")(vector))
    return Model([image, vector], [Linear(None, 3)(joined), Conv2d(None, 2, 2)(features)], **options)


def ends_in_softmax(**options: object) -> Model:
    return Sequential(Flatten(), Linear(None, 5, activation="relu"), Linear(None, 3), Softmax(),
                      input_shape=(2, 7, 6), **options)  # fmt: skip


def with_dropout(**options: object) -> Model:
    return Sequential(
        Conv2d(2, 3, 3, activation="relu"), Dropout(0.25), Flatten(), Linear(None, 8, activation="relu"), Dropout(0.5),
        Linear(None, 3), input_shape=(2, 7, 6), **options,
    )  # fmt: skip


CLASSIFIERS: dict[str, Callable[..., Model]] = {
    function.__name__: function for function in (chain, overlapping_pool, residual, inception, shared, ends_in_softmax)
}
