"""A recipe for few pictures: as many steps as a network needs, not as few as an epoch has.

The default epochs are for tens of thousands of pictures. Of some hundred, the same epochs are a few
steps, from which nothing learns. So a stage sees a least number of pictures, over and over, and a
batch is small enough for several steps an epoch. And accuracy may fall by more from stage to stage,
by what the few pictures that select leave open.
"""

import math
from dataclasses import replace

from snn_train.choices import RecipeName
from snn_train.data import DataSet
from snn_train.data.overview import FEW, LIKELY, uncertainty
from snn_train.defaults import default_recipe
from snn_train.recipe import Recipe

LEAST_SEEN = 15_000
"""Pictures in the epochs of a stage together."""
STEPS = 8
"""Of an epoch, at least, as long as batches have `SMALLEST_BATCH` pictures."""
SMALLEST_BATCH = 16


def default(name: RecipeName, data: DataSet, validation: float | None = None) -> Recipe:
    """Return a recipe's defaults for the pictures of `data`.

    Args:
        validation: the share of them that selects; None: as many as usual.

    Raises:
        ValueError: unknown name.
    """
    recipe = default_recipe(name, data.name, min(data.train_images.shape[1:3]))
    if validation is not None:
        recipe = replace(recipe, validation=validation)
    if not data.name.startswith("imagefolder"):
        return recipe
    trained, selecting = data.split(*recipe.split)
    return for_few(recipe, len(trained), len(selecting))


def for_few(recipe: Recipe, pictures: int, selecting: int) -> Recipe:
    """Return the recipe for so many pictures to train on and to select with; for many it is what it
    was."""
    fitting = 2 ** int(math.log2(max(1, pictures // STEPS)))
    enough = math.ceil(LEAST_SEEN / max(1, pictures))
    stages = tuple(replace(stage, epochs=max(stage.epochs, enough)) for stage in recipe.stages)
    batch = min(recipe.batch_size, max(SMALLEST_BATCH, fitting))
    # A fall that so few cannot tell from chance is no reason to begin a stage again.
    chance = uncertainty(LIKELY, selecting) if selecting < FEW else 0.0
    drop = round(min(1.0, recipe.largest_drop + chance), 2)
    return replace(recipe, stages=stages, batch_size=batch, largest_drop=drop, least_epochs=enough)
