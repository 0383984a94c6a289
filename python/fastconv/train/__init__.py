"""Training: the loop, the callbacks that watch it, and checkpoints that it can be resumed from."""

from __future__ import annotations

from .callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    History,
    LearningRateScheduler,
    ModelCheckpoint,
    TerminateOnNaN,
)
from .checkpoint import CheckpointFolder
from .fit import evaluate, fit, predict
from .interrupt import TrainingInterrupted

__all__ = [
    "CSVLogger",
    "Callback",
    "CheckpointFolder",
    "EarlyStopping",
    "History",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "TerminateOnNaN",
    "TrainingInterrupted",
    "evaluate",
    "fit",
    "predict",
]
