"""Recipes name what exists."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import optim, schedules, zoo
from fastconv.zoo import recipes


def test_every_recipe_can_be_used() -> None:
    for (model, _), recipe in recipes._RECIPES.items():
        zoo.get(model)
        optim.get(recipe.optimizer)
        schedules.get(recipe.schedule, recipe.learning_rate, total=100)
        assert recipe.epochs > 0
        assert recipe.batch_size > 0
        assert min(recipe.shift) >= 0


def test_an_unknown_pair_gets_the_plain_one() -> None:
    assert zoo.recipe("lenet5", "anything") == zoo.Recipe()


def test_recipes_make_what_training_takes() -> None:
    recipe = zoo.Recipe(epochs=3, batch_size=32, optimizer="sgd", learning_rate=0.1, weight_decay=0.01, flip=True)
    optimizer = recipe.make_optimizer()
    assert (optimizer.name, optimizer.learning_rate, optimizer.weight_decay) == ("SGD", 0.1, 0.01)
    schedule = recipe.make_schedule(65)  # 3 epochs of 3 batches
    assert max(schedule(step) for step in range(9)) == pytest.approx(0.1, rel=0.01)
    assert schedule(8) < 0.01 < schedule(4)
    augment = recipe.make_augmentation()
    assert augment is not None
    assert augment(np.zeros((2, 1, 4, 4), np.float32), np.random.default_rng(0)).shape == (2, 1, 4, 4)
    assert zoo.Recipe().make_augmentation() is None
    assert zoo.recipe("cnn_6_12", "mnist").make_optimizer().learning_rate == 0.005
