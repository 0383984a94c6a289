"""Recipes name what exists."""

from __future__ import annotations

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
