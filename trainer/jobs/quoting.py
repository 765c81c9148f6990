"""The quote of a job: told before it is trained, and held against the truth at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from registry.money import dollars_to_nano
from registry.service import Registry
from registry.words import size
from trainer.jobs.settings import TrainerSettings
from trainer.jobs.watching import ChildWatch

if TYPE_CHECKING:
    from trainer.making import EncodedSets, Task
    from trainer.methods.results import Trained
    from trainer.quote.facts import Prices

LEAST_STEPS = 40
"""Of shorter trainings no steps are timed beforehand: it would take a tenth of their time, and more."""


def prices_of(registry: Registry, settings: TrainerSettings, base: str) -> dict[str, Any]:
    """What the worker knows of prices, JSON-ready: an hour of its own, an API's, and the base's tariff here."""
    known = settings.trainer_api_dollars
    own = next((one for one in registry.tariffs.all(f"base:{base}") if one.state == "in force"), None)
    hour = settings.trainer_hour_dollars
    return {
        "hour_nano": None if hour is None else dollars_to_nano(hour, "trainer_hour_dollars"),
        "api": known and [dollars_to_nano(part, "trainer_api_dollars") for part in known],
        "own": own and [own.input_nano_per_mtok, own.output_nano_per_mtok],
    }


def quoted(task: Task, rows: EncodedSets, prices: Mapping[str, Any], watch: ChildWatch, *, dry: bool) -> dict[str, Any]:
    """Quote the task, tell it, and return its document; steps are timed for a dry run, and where there are many."""
    from trainer.errors import TrainingRefused
    from trainer.quote.of_task import quote_task
    from trainer.quote.words import sentence

    found = quote_task(task, rows, _prices(prices), watch, timed=False)
    if dry or found.steps >= LEAST_STEPS:
        try:
            found = quote_task(task, rows, _prices(prices), watch)
        except TrainingRefused as refused:  # the training itself will say whether that lasts
            watch.say(f"No steps could be timed: {refused}.", level="warn")
    if found.fits is False:
        watch.say(f"It will need {size(found.needed_bytes)} of memory, and this worker has less.", level="warn")
    document = found.document()
    watch.say(sentence(found), data={"quote": document})
    return document


def against(quote: Mapping[str, Any], trained: Trained, watch: ChildWatch) -> dict[str, Any]:
    """What was quoted against what was taken; told, if anything was quoted."""
    from trainer.quote.bench import peak_bytes
    from trainer.quote.truth import Actual, against_actual, truth_sentence

    actual = Actual(trained.steps, trained.seconds, trained.trained_tokens, peak_bytes())
    compared = against_actual(quote, actual)
    if quote:
        watch.say(f"{truth_sentence(compared)}.", data={"quote_against_actual": compared})
    return compared


def _prices(given: Mapping[str, Any]) -> Prices:
    from trainer.quote.facts import Prices, TokenDollars

    api, own = given.get("api"), given.get("own")
    return Prices(given.get("hour_nano"), TokenDollars(*api) if api else None, TokenDollars(*own) if own else None)
