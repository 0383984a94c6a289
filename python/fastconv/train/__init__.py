"""Training: the loop, the callbacks that watch it, and checkpoints that it can be resumed from."""

from __future__ import annotations

from fastconv.train.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    History,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from fastconv.train.checkpoint import CheckpointFolder
from fastconv.train.fit import evaluate, fit, predict
from fastconv.train.interrupt import TrainingInterrupted

__all__ = [
    "CSVLogger",
    "Callback",
    "CheckpointFolder",
    "EarlyStopping",
    "History",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
    "TrainingInterrupted",
    "evaluate",
    "fit",
    "predict",
]
