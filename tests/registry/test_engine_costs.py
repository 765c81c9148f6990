"""What engines cost is a log that is never changed, and what is added today changes nothing before today."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from registry.days import DAY_MS
from registry.db import now_ms
from registry.engine_costs.log import HourlyCost
from registry.engine_costs.spans import SeenEngine
from registry.engine_costs.terms import hourly_nano
from registry.errors import Conflict, InvalidInput, NotFound
from registry.money import NANO
from registry.service import Registry


def add(registry: Registry, scope: str, from_ms: int | None, hourly: str = "2", **options: Any) -> HourlyCost:
    kind = options.pop("kind", "on_demand")
    terms = {"hourly": hourly} if kind in ("on_demand", "spot") else options.pop("terms", {})
    return registry.engine_costs.add(
        scope, kind, terms, effective_from_ms=from_ms, source="a list", actor="me", **options
    )


@pytest.mark.parametrize(
    ("kind", "terms", "dollars"),
    [
        ("on_demand", {"hourly": "2.74"}, 2.74),
        ("spot", {"hourly": "0.98", "gpus": "8"}, 7.84),
        ("reserved", {"monthly": "2000"}, 2_000 / 730),
        ("reserved", {"hourly": "1", "gpus": "2", "upfront": "8760", "term_months": "12"}, 3.0),
        ("owned", {"purchase": "26280", "years": "3"}, 1.0),
        (
            "owned",
            {
                "purchase": "30000",
                "resale": "3720",
                "years": "3",
                "watts": "700",
                "pue": "1.5",
                "kwh": "0.20",
                "hosting": "146",
            },
            1.0 + 0.21 + 0.2,
        ),
        ("ended", {}, 0),
    ],
)
def test_an_hour_costs_what_its_terms_come_to(kind: str, terms: dict[str, str], dollars: float) -> None:
    assert hourly_nano(kind, terms) == pytest.approx(dollars * NANO, abs=1)


@pytest.mark.parametrize(
    ("kind", "terms", "said"),
    [
        ("rented", {}, "kind is 'rented'; choose one of on_demand"),
        ("on_demand", {}, "hourly is missing"),
        ("on_demand", {"hourly": "1", "watts": "3"}, "watts is no term of a cost of kind on_demand"),
        ("on_demand", {"hourly": "-1"}, "hourly is '-1'"),
        ("on_demand", {"hourly": "1", "gpus": "1.5"}, "expected a whole number"),
        ("on_demand", {"hourly": "1", "gpus": "0"}, "above 0"),
        ("reserved", {"hourly": "1", "monthly": "5"}, "one of them"),
        ("reserved", {"hourly": "1", "upfront": "5"}, "term_months is missing"),
        ("owned", {"purchase": "1", "years": "nan"}, "years is 'nan'"),
        ("owned", {"purchase": "1", "resale": "2", "years": "1"}, "come to"),
    ],
)
def test_terms_that_make_no_sense_are_refused_by_name(kind: str, terms: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        hourly_nano(kind, terms)


def test_a_scope_must_be_one_and_every_engine_is_paid_only_while_it_is_there(registry: Registry) -> None:
    for scope in ("engine", "engine:", "rack:7", "", "engine: ", "host:" + "x" * 201):
        with pytest.raises(InvalidInput, match=r"scope is .*expected engine:ID"):
            add(registry, scope, None)
    with pytest.raises(InvalidInput, match="name the engine, host or pool"):
        add(registry, "*", None, kind="reserved", terms={"hourly": "1"})


def test_a_cost_holds_from_its_date_to_the_next_one(registry: Registry) -> None:
    today_ms = now_ms() // DAY_MS * DAY_MS
    add(registry, "*", today_ms - 9 * DAY_MS, "1")
    add(registry, "*", today_ms, "2")
    add(registry, "*", today_ms + DAY_MS, "3")
    registry.engine_costs.add("*", "ended", {}, effective_from_ms=today_ms + 2 * DAY_MS, source="sold", actor="me")
    found = registry.engine_costs.log().periods("*")
    assert [((one.from_ms - today_ms) // DAY_MS, one.line.said.nano_per_hour // NANO) for one in found] == [
        (-9, 1),
        (0, 2),
        (1, 3),
    ]
    assert found[-1].until_ms == today_ms + 2 * DAY_MS


def test_a_date_before_today_fills_a_gap_or_is_a_correction(registry: Registry) -> None:
    today_ms = now_ms() // DAY_MS * DAY_MS
    add(registry, "engine:a", today_ms - 5 * DAY_MS, "1")
    add(registry, "engine:a", today_ms - 9 * DAY_MS, "7")
    with pytest.raises(Conflict, match=r"engine:a is no gap: it has a cost then.*--correct"):
        add(registry, "engine:a", today_ms - 2 * DAY_MS)
    with pytest.raises(Conflict, match="is no gap"):
        registry.engine_costs.add("engine:a", "ended", {}, effective_from_ms=today_ms - DAY_MS, source="x", actor="me")
    before = registry.engine_costs.log()
    add(registry, "engine:a", today_ms - 5 * DAY_MS, "2", correct=True)
    log = registry.engine_costs.log()
    assert [one.line.said.nano_per_hour // NANO for one in log.periods("engine:a")] == [7, 2]
    assert [one.line.said.nano_per_hour // NANO for one in before.periods("engine:a")] == [7, 1]
    assert registry.engine_costs.log(before.version) == before


def test_a_wider_cost_that_is_in_force_is_no_gap_either(registry: Registry) -> None:
    today_ms = now_ms() // DAY_MS * DAY_MS
    registry.engine_spans.see([SeenEngine("a", "http://h1:1", "h1", "p", "sha256:b", "vllm", 1)], today_ms)
    add(registry, "pool:p", today_ms - 5 * DAY_MS)
    for scope in ("engine:a", "host:h1"):
        with pytest.raises(Conflict, match="pool:p has a cost then"):
            add(registry, scope, today_ms - DAY_MS)
    add(registry, "engine:b", today_ms - DAY_MS)
    add(registry, "*", today_ms - 3 * DAY_MS)
    with pytest.raises(Conflict, match=r"\* has a cost then"):
        add(registry, "engine:c", today_ms - DAY_MS)


def test_what_has_no_cost_cannot_end(registry: Registry) -> None:
    with pytest.raises(Conflict, match="no cost at that time that could end"):
        registry.engine_costs.add("engine:a", "ended", {}, source="x", actor="me")


def test_a_version_names_the_log_as_it_was_and_an_unknown_one_is_told(registry: Registry) -> None:
    assert registry.engine_costs.log().version == "c0"
    add(registry, "*", None)
    log = registry.engine_costs.log()
    assert log.version.startswith("c1-")
    assert registry.engine_costs.log("c0").lines == ()
    for version in ("c2-00000000", "c1-00000000", "p1-00000000", "x"):
        with pytest.raises(NotFound, match=f"cost_version is {version!r}.*{log.version}"):
            registry.engine_costs.log(version)


def test_a_log_that_somebody_touched_says_so(registry: Registry) -> None:
    add(registry, "*", None)
    add(registry, "*", None, "3")
    assert registry.engine_costs.faults() == []
    with registry.db.write() as session:
        for trigger in triggers(session):
            session.execute(text(trigger))
        session.execute(text("UPDATE engine_cost_log SET nano_per_hour = 1 WHERE seq = 1"))
    assert registry.engine_costs.faults() == [
        "line 1 of the log of engine costs is not what was written: its digest is another one"
    ]


def triggers(session: Any) -> list[str]:
    """Statements that take away what refuses changes."""
    if session.get_bind().dialect.name == "sqlite":
        return ["DROP TRIGGER engine_cost_log_no_update"]
    return ["DROP TRIGGER engine_cost_log_append_only ON engine_cost_log"]
