"""Retirement radar: what tenants and operators depend on, and when its vendor switches it off.

A tenant's own names (`gpt-4o-mini` → one of its adapters) are those of a vendor's models. When that model ends, the
name goes on here; whoever asks the vendor by it has to be sent here, and that is the exit. A baseline that ends is one
whose figures compare with what nobody can buy any more: its substitute goes on.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from registry.adapters.rows import Adapter
from registry.days import DAY_MS, date_of, day_number
from registry.db import Database, now_ms
from registry.errors import InvalidInput
from registry.experiments.rows import Experiment
from registry.names import parse_ref
from registry.prices.baseline_infos import BaselineInfo
from registry.prices.baselines import Baselines
from registry.prices.rows import RetirementNotice
from registry.prices.vendor_names import baselines_of
from registry.tenants.rows import ModelMap
from registry.webhooks.outbox import add_event
from registry.webhooks.rows import WebhookEndpointRow

EVENT_TYPE = "model.retiring"
"""What tenants' webhooks are told."""
KEPT_MS = 400 * DAY_MS
"""How long after a shutdown it is known that a tenant was warned of it."""


@dataclass(frozen=True, slots=True)
class RunningExperiment:
    """One that has not ended."""

    id: int
    name: str
    alias: str
    state: str


@dataclass(frozen=True, slots=True)
class Retirement:
    """A model of a vendor that ends, and what is to be done about it."""

    kind: Literal["name", "baseline"]
    """A tenant's name for something here, or what figures are compared with."""
    tenant: str | None
    """Of a name."""
    name: str
    baseline: str
    """By which the log knows it."""
    ends_at_ms: int
    days_left: int
    """Whole days; negative: it is over."""
    source: str
    served_by: str | None
    """What answers here under the name."""
    experiments: tuple[RunningExperiment, ...]
    """On the adapter that answers."""
    substitute: str | None

    @property
    def exit(self) -> str:
        """What to do, as a sentence."""
        if self.kind == "baseline":
            return f"compare with {self.substitute}" if self.substitute else "compare with another baseline"
        tried = "".join(f"; experiment {one.name} ({one.state}) runs on it" for one in self.experiments)
        return f"send what still asks the vendor here, where {self.served_by} answers under this name{tried}"


class Radar:
    """Finds what ends, and tells tenants once of each."""

    def __init__(self, db: Database, baselines: Baselines) -> None:
        self._db = db
        self._baselines = baselines

    def within(self, days: int, tenant: str | None = None) -> list[Retirement]:
        """Everything that ends within so many days or has ended in as many, the earliest first; of one tenant its names
        alone. Raises `InvalidInput` for a negative number.
        """
        if days < 0:
            raise InvalidInput(f"days is {days}; expected 0 or more", param="days")
        at_ms = now_ms()
        infos = {info.name: info for info in self._baselines.infos(at_ms=at_ms)}
        near = {
            name: info
            for name, info in infos.items()
            if info.ends_at_ms is not None and abs(_days_left(info, at_ms)) <= days
        }
        with self._db.read() as session:
            found = [*_names(session, set(infos), near, at_ms, tenant)]
        if tenant is None:
            found += [_of(info, at_ms, kind="baseline", name=name) for name, info in near.items()]
        return sorted(found, key=lambda one: (one.ends_at_ms, one.kind, one.tenant or "", one.name))

    def warn(self, days: int) -> int:
        """Tell each tenant of its names that end within so many days, once for each day that is named; how many.

        Who has no address for it now is told when it has one.
        """
        with self._db.read() as session:
            reachable = set(session.scalars(select(WebhookEndpointRow.tenant).distinct()))
            notices = session.scalars(select(RetirementNotice))
            told = {(row.tenant, row.name, row.ends_at_ms) for row in notices}
        due = [
            one
            for one in self.within(days)
            if one.tenant in reachable and one.days_left >= 0 and (one.tenant, one.name, one.ends_at_ms) not in told
        ]
        done = sum(self._tell(one) for one in due)
        if done:
            self._forget()
        return done

    def _tell(self, one: Retirement) -> bool:
        """In one transaction with the note of it: of two leaders that do it at once, one fails and tells nothing."""
        row = RetirementNotice(tenant=one.tenant, name=one.name, ends_at_ms=one.ends_at_ms, told_at_ms=now_ms())
        assert one.tenant is not None
        with self._db.write() as session:
            if not add_event(session, one.tenant, EVENT_TYPE, document(one)):
                return False
            session.add(row)
        return True

    def _forget(self) -> None:
        with self._db.write() as session:
            session.execute(delete(RetirementNotice).where(RetirementNotice.ends_at_ms < now_ms() - KEPT_MS))


def document(one: Retirement) -> dict[str, Any]:
    """As webhooks, the admin API and scripts get it."""
    return {
        "kind": one.kind,
        "tenant": one.tenant,
        "name": one.name,
        "baseline": one.baseline,
        "ends_on": date_of(day_number(one.ends_at_ms)),
        "days_left": one.days_left,
        "source": one.source,
        "served_by": one.served_by,
        "experiments": [
            {"id": each.id, "name": each.name, "alias": each.alias, "state": each.state} for each in one.experiments
        ],
        "substitute": one.substitute,
        "exit": one.exit,
    }


def _names(
    session: Session, known_names: Container[str], near: dict[str, BaselineInfo], at_ms: int, tenant: str | None
) -> Iterator[Retirement]:
    query = select(ModelMap).order_by(ModelMap.tenant, ModelMap.external)
    if tenant is not None:
        query = query.where(ModelMap.tenant == tenant)
    for row in session.scalars(query):
        known = next((name for name in baselines_of(row.external) if name in known_names), None)
        if known is None or known not in near:
            continue
        served_by, experiments = _served_by(session, row)
        yield _of(
            near[known],
            at_ms,
            kind="name",
            name=row.external,
            tenant=row.tenant,
            served_by=served_by,
            experiments=experiments,
        )


def _served_by(session: Session, row: ModelMap) -> tuple[str, tuple[RunningExperiment, ...]]:
    """What answers under a name, and the experiments on its adapter; a base model has none."""
    try:
        ref = parse_ref(row.target, tenant=row.tenant)
    except InvalidInput:
        return row.target, ()
    query = (
        select(Experiment)
        .join(Adapter, Adapter.id == Experiment.adapter_id)
        .where(Adapter.tenant == ref.tenant, Adapter.name == ref.adapter, Experiment.ended_at_ms.is_(None))
        .order_by(Experiment.id)
    )
    running = tuple(RunningExperiment(one.id, one.name, one.alias, one.state) for one in session.scalars(query))
    of_adapter = select(Adapter.id).where(Adapter.tenant == ref.tenant, Adapter.name == ref.adapter)
    known = session.scalars(of_adapter).first() is not None
    return str(ref) if known else row.target, running


def _of(info: BaselineInfo, at_ms: int, *, kind: Literal["name", "baseline"], name: str, **more: Any) -> Retirement:
    assert info.ends_at_ms is not None
    status = info.facts["status"]
    return Retirement(
        kind,
        more.get("tenant"),
        name,
        info.name,
        info.ends_at_ms,
        _days_left(info, at_ms),
        status.source,
        more.get("served_by"),
        more.get("experiments", ()),
        info.substitute,
    )


def _days_left(info: BaselineInfo, at_ms: int) -> int:
    assert info.ends_at_ms is not None
    return day_number(info.ends_at_ms) - day_number(at_ms)
