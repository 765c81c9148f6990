"""The log of an experiment: nobody can change it, and who does it all the same is found out; tenants hear of it."""

from __future__ import annotations

import json
import math

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from registry.errors import InvalidInput, NotFound
from registry.experiments.infos import MOST_REASON, Decision
from registry.experiments.rows import ExperimentDecision
from registry.service import Registry
from registry.webhooks.rows import WebhookDelivery
from tests.registry.conftest import Shop
from tests.registry.test_experiments import ADAPTER, begun, plan

FIGURES = {"quality": {"low": 0.1 + 0.2, "high": 5e-324, "n": 10**15}, "word": "beſſer"}


@pytest.fixture
def served(shop: Shop) -> Shop:
    """Two versions, the first in production."""
    shop.versions(2)
    shop.promote("acme/triage@1.0")
    return shop


def test_a_decision_says_all_that_it_was_made_of(served: Shop) -> None:
    running = begun(served)
    decision = Decision("hold", "too few units", FIGURES, "sha256:inputs")
    made = served.registry.experiments.decide(running.id, decision)
    start, read = served.registry.experiments.decisions(running.id)
    assert made == read
    assert (read.seq, read.kind, read.from_state, read.to_state) == (2, "hold", "running", "running")
    assert (read.figures, read.inputs_digest, read.actor) == (FIGURES, "sha256:inputs", "controller")
    assert (read.weights, read.step, read.swap_id) == ({"1.0": 9900, "1.1": 100}, 0, None)
    assert (start.previous, read.previous) == ("", start.digest)
    assert served.registry.experiments.decisions(running.id, after=1, limit=1) == [read]
    with pytest.raises(NotFound):
        served.registry.experiments.decisions(99)


@pytest.mark.parametrize("statement", ["UPDATE {} SET kind = 'hold'", "DELETE FROM {}"])
def test_no_statement_changes_the_log(served: Shop, statement: str) -> None:
    begun(served)
    with pytest.raises(DBAPIError, match="experiment_decisions is append-only"), served.registry.db.write() as session:
        session.connection().execute(text(statement.format("experiment_decisions")))


def test_a_log_that_was_changed_past_the_triggers_is_found_out(served: Shop) -> None:
    running = begun(served)
    for reason in ("first", "second", "third"):
        served.registry.experiments.decide(running.id, Decision("hold", reason))
    assert served.registry.experiments.faults(running.id) == []
    without_triggers(served.registry)
    with served.registry.db.write() as session:
        second = session.get_one(ExperimentDecision, (running.id, 3))
        document = json.loads(second.document)
        second.document = second.document.replace("second", "sekond")
        second.kind = "ramp"
        session.delete(session.get_one(ExperimentDecision, (running.id, 4)))
    assert document["reason"] == "second"
    assert served.registry.experiments.faults(running.id) == [
        "decision 3 is not what was written: its digest is another one",
        "decision 3 has columns that are not as in its document",
        f"experiment {running.id} has made 4 decisions, and its log has 3",
    ]


def without_triggers(registry: Registry) -> None:
    """As somebody could make the database who owns it."""
    sqlite = registry.db.engine.dialect.name == "sqlite"
    with registry.db.write() as session:
        for name in ("no_update", "no_delete") if sqlite else ("append_only",):
            on = "" if sqlite else " ON experiment_decisions"
            session.connection().execute(text(f"DROP TRIGGER experiment_decisions_{name}{on}"))


@pytest.mark.parametrize("figures", [{"low": math.nan}, {"high": math.inf}, {"who": object()}])
def test_figures_that_are_no_json_are_refused_and_nothing_is_decided(served: Shop, figures: dict[str, object]) -> None:
    running = begun(served)
    with pytest.raises(InvalidInput, match="figures are no JSON") as refused:
        served.registry.experiments.decide(running.id, Decision("pause", "", figures))
    assert refused.value.param == "figures"
    assert served.registry.experiments.get(running.id) == running


def test_a_decision_has_a_bound(served: Shop) -> None:
    running = begun(served)
    with pytest.raises(InvalidInput, match="figures are 70011 bytes of JSON; the most is 65536"):
        served.registry.experiments.decide(running.id, Decision("hold", "", {"long": "x" * 70_000}))
    made = served.registry.experiments.decide(running.id, Decision("hold", "y" * 5_000))
    assert len(made.reason) == MOST_REASON


def test_a_tenants_webhooks_are_told_of_every_decision(served: Shop) -> None:
    served.registry.webhooks.create("acme", "all", "https://example.com/hook")
    served.registry.webhooks.create("acme", "jobs", "https://example.com/jobs", ["fine_tuning.job.failed"])
    running = begun(served)
    served.registry.experiments.decide(running.id, Decision("pause", "lunch", actor="someone"))
    with served.registry.db.read() as session:
        rows = session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.number)).all()
    assert [(row.type, row.tenant) for row in rows] == [("experiment.decision", "acme")] * 2
    told = json.loads(rows[1].body)["data"]
    assert (told["id"], told["name"], told["adapter"], told["alias"]) == (
        str(running.id),
        "experiment-1",
        "acme/triage",
        "production",
    )
    assert (told["kind"], told["from_state"], told["to_state"]) == ("pause", "running", "paused")
    assert (told["reason"], told["actor"]) == ("lunch", "someone")


def test_a_draft_that_is_refused_leaves_no_line_and_no_event(served: Shop) -> None:
    served.registry.webhooks.create("acme", "all", "https://example.com/hook")
    served.split({"1.0": 5000, "1.1": 5000})
    with pytest.raises(Exception, match="split by hand"):
        served.registry.experiments.create(ADAPTER, plan(), actor="someone")
    with served.registry.db.read() as session:
        assert session.scalars(select(WebhookDelivery)).all() == []
        assert session.scalars(select(ExperimentDecision)).all() == []
