"""All sources, asked one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from sqlalchemy.exc import SQLAlchemyError

from gateway.attention.experiments import experiment_items, split_items
from gateway.attention.fleet import fleet_items
from gateway.attention.item import KINDS, Item, Known
from gateway.attention.money import budget_items, retirement_items, usage_items
from gateway.attention.versions import swap_items, version_items
from gateway.attention.work import job_items, webhook_items
from registry.errors import RegistryError

Source = Callable[[Known], Iterator[Item]]
SOURCES: Mapping[str, Source] = {
    "fleet": fleet_items,
    "versions": version_items,
    "swaps": swap_items,
    "experiments": experiment_items,
    "splits": split_items,
    "budgets": budget_items,
    "usage": usage_items,
    "retirements": retirement_items,
    "jobs": job_items,
    "webhooks": webhook_items,
}
_ORDER = {kind: number for number, kind in enumerate(KINDS)}


def attention_of(known: Known) -> list[Item]:
    """What needs a decision, the most urgent first. A source that cannot be asked is an item, and hides no other."""
    found: list[Item] = []
    for name, source in SOURCES.items():
        try:
            found += source(known)
        except (SQLAlchemyError, RegistryError) as error:
            found.append(_cannot_tell(name, error))
    return sorted(found, key=lambda one: (one.severity != "act", _ORDER[one.kind], one.object))


def _cannot_tell(name: str, error: Exception) -> Item:
    why = error.message if isinstance(error, RegistryError) else "the database does not answer"  # its text has values
    return Item(
        "cannot_tell",
        "act",
        name,
        f"whether something is wrong with {name} cannot be told: {why}",
        "look whether the database can be reached",
        "switchyard doctor",
        "/",
    )
