"""What is asked of a shadow, and whether it can be."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.adapters.rows import Adapter, Alias, Version
from registry.bases.rows import BaseModel
from registry.days import DAY_MS
from registry.db import now_ms
from registry.errors import InvalidInput, NotFound
from registry.experiments.plan import Plan
from registry.money import NANO
from registry.prices.rows import Tariff
from registry.splits.ranges import FULL_WEIGHT
from registry.swaps.rules import refuse_quarantined

MOST_DAYS = 30
"""That a shadow may go on."""
MOST_REQUESTS = 10_000_000
USUAL_REQUESTS_PER_DAY = 10_000


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked of a shadow. `share` in 1/10,000 of the alias's requests, `lasts_ms` from now on."""

    share: int
    lasts_ms: int
    requests_per_day: int = USUAL_REQUESTS_PER_DAY
    budget_nano: int | None = None


def terms_of(plan: Plan) -> Terms | None:
    """Of the copies that an experiment's plan wants; `None`: it wants none."""
    copied = plan.shadow
    if copied is None or plan.copied_to is None:
        return None
    lasts_ms = int(min(plan.budget.days, MOST_DAYS) * DAY_MS)
    budget_nano = None if copied.dollars is None else int(copied.dollars * NANO)
    return Terms(copied.weight, lasts_ms, copied.requests_per_day, budget_nano)


def check_terms(session: Session, adapter: Adapter, version: Version, terms: Terms, alias: str) -> None:
    """Raise `InvalidInput` for terms that cannot be, and for a candidate that other engines would serve; `NotFound`
    without the alias.
    """
    _check_bounds(terms)
    _check_candidate(session, adapter, version, alias)
    name = f"{adapter.tenant}/{adapter.name}"
    if terms.budget_nano is not None and not _has_price(session, adapter, version):
        raise InvalidInput(
            f"budget is in dollars, and {name} has no price; give it one with `switchyard tariff add adapter:{name}`, "
            "or bound the shadow by requests_per_day alone",
            param="budget",
        )


def _check_candidate(session: Session, adapter: Adapter, version: Version, alias: str) -> None:
    name = f"{adapter.tenant}/{adapter.name}"
    pointer = session.get(Alias, (adapter.id, alias))
    if pointer is None:
        raise NotFound(f"{name} has no alias {alias!r}, so no requests that could be copied", param="alias")
    refuse_quarantined(session, adapter, version, "version")
    if session.get_one(Version, pointer.version_id).base_digest != version.base_digest:
        raise InvalidInput(
            f"version is {version.major}.{version.minor}, of another base than {name}@{alias}: copies go to the "
            "engines that serve the alias; choose a version of the same base",
            param="version",
        )


def _check_bounds(terms: Terms) -> None:
    if not 1 <= terms.share <= FULL_WEIGHT:
        raise InvalidInput(
            f"share is {terms.share / FULL_WEIGHT:g}; expected {1 / FULL_WEIGHT:g} to 1, of the alias's requests",
            param="share",
        )
    if not 1 <= terms.lasts_ms <= MOST_DAYS * DAY_MS:
        raise InvalidInput(
            f"for is {terms.lasts_ms / 1000:g} s; expected more than 0, and {MOST_DAYS} days at most", param="for"
        )
    if not 1 <= terms.requests_per_day <= MOST_REQUESTS:
        raise InvalidInput(
            f"requests_per_day is {terms.requests_per_day}; expected 1 to {MOST_REQUESTS}", param="requests_per_day"
        )
    if terms.budget_nano is not None and terms.budget_nano <= 0:
        raise InvalidInput("budget is 0; expected dollars such as 5, or none", param="budget")


def _has_price(session: Session, adapter: Adapter, version: Version) -> bool:
    bases = session.scalars(select(BaseModel.name).where(BaseModel.digest == version.base_digest))
    scopes = [f"adapter:{adapter.tenant}/{adapter.name}", f"tenant:{adapter.tenant}", *(f"base:{one}" for one in bases)]
    priced = select(Tariff.id).where(Tariff.scope.in_(scopes), Tariff.effective_from_ms <= now_ms())
    return session.scalars(priced.limit(1)).first() is not None
