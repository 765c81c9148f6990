"""The quote of a recipe file: its rows are read and encoded as they would be for a training."""

from __future__ import annotations

from pathlib import Path

from registry.settings import RegistrySettings
from trainer.base import base_at_hand, prepare_base
from trainer.data.findings import tell
from trainer.data.sets import read_sets
from trainer.making import Task, encode, set_environment
from trainer.publish import version_folder
from trainer.quote.facts import Prices
from trainer.quote.of_task import quote_task
from trainer.quote.quote import Quote
from trainer.recipe import read_recipe
from trainer.watch import Watch


def quote_recipe(file: Path, base: str | None, prices: Prices, watch: Watch, *, timed: bool = True) -> Quote:
    """Quote it, on the base that `base` names as for `prepare_base`.

    Raises TrainerError or RegistryError, whose messages say what to do.
    """
    set_environment()
    settings = RegistrySettings()
    bases = settings.state_dir / "base"
    recipe = read_recipe(file)
    sets = read_sets(recipe, base_at_hand(base, bases))
    tell(watch, sets.findings)
    watch.stage("preparing the base model")
    folder = prepare_base(base, bases, watch.stage)
    task = Task(recipe, sets, folder, Path("unused"), start_from=version_folder(recipe, settings, folder))
    watch.stage("encoding the rows")
    return quote_task(task, encode(task, watch), prices, watch, timed=timed)
