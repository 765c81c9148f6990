"""What the experiments' pages have to show: an experiment with units and feedback, and answers that wait for votes."""

from __future__ import annotations

import random
import time

from registry.db import now_ms
from registry.experiments.infos import ExperimentInfo
from registry.experiments.plan import Plan
from registry.names import parse_whole_adapter
from registry.outcomes.said import NewOutcome, Said, Subject
from registry.votes.ballots import NewPair, Shown
from registry.votes.store import Side
from tests.support.experiment_parts import Traffic, unit_hash
from tests.support.stack import House
from tests.support.waiting import wait_until

ADAPTER = "acme/replies"
BALLOT = "seeded"
BATCHES, EACH = 24, 120
SOLVED = {"1.0": 0.61, "1.1": 0.66}
AHEAD_MS = 1_000
"""Units are served so long after now, as feedback counts that was there by then."""
PLAN = {
    "treatments": ["1.1"],
    "ramp": [{"percent": 50, "dwell_s": 86_400, "min_units": 20}, {"percent": 100, "dwell_s": 600, "min_units": 0}],
    "metric": {"name": "solved", "direction": "higher", "margin": 0.02, "window_s": 0},
    "budget": {"dollars": 25.0, "units": 20_000},
}
QUESTIONS = (
    "My parcel was due on Tuesday, and the tracker still says 'label made'. What do I do?",
    "Can I change the address of order 4711? It has not left yet.",
    "The invoice has the wrong tax number on it.",
)


def try_version(house: House, engine: str) -> ExperimentInfo:
    """An experiment on replies, asked at that engine; users say more often of 1.1 that it has solved theirs."""
    registry, dice = house.registry, random.Random(3)
    made = registry.experiments.create(parse_whole_adapter(ADAPTER), Plan.of(PLAN), actor="kim")
    info = wait_until("it to begin", lambda: running(house, made.id))
    traffic = Traffic(registry, info)
    for batch in range(BATCHES):
        rows, said, at_ms = [], [], now_ms() + AHEAD_MS
        for number in range(EACH):
            unit, arm = f"conversation {batch}-{number}", dice.choice(("1.0", "1.1"))
            fails = dice.random() < 0.01
            model = f"{ADAPTER}@{arm}"
            taken = {"started_at_ms": at_ms, "cost_nano": 210_000, "served_model": model, "engine": engine}
            rows.append(
                traffic.failed(unit, arm, **taken)
                if fails
                else traffic.row(unit, arm, ttft_ms=dice.gauss(90, 20), **taken)
            )
            subject = Subject(info.adapter_id, None, info.splits[-1], arm, unit_hash(unit))
            said.append(NewOutcome(subject, Said("solved", "boolean", float(dice.random() < SOLVED[arm]))))
        registry.outcomes.give("acme", said, 1_000_000)
        traffic.book(*rows)
        time.sleep(1.0)  # so that the sequence has looks in between
    return info


def running(house: House, experiment_id: int) -> ExperimentInfo | None:
    """It, when its first step routes."""
    info = house.registry.experiments.get(experiment_id)
    return info if info.state == "running" and not info.moving else None


def put_up_ballot(house: House) -> None:
    """Pairs of two versions, on some of which two people have voted."""
    ballots, dice = house.registry.ballots, random.Random(5)
    sides: tuple[Side, Side] = ("a", "b")
    long = "I am sorry about that. I have opened a trace with the carrier; you hear from us until tomorrow, 18:00."
    pairs = [
        NewPair(
            f"pair-{number}",
            f"conversation-{number}",
            sides[number % 2],
            Shown(QUESTIONS[number % 3], *((long, "Please ask the carrier.") if number % 2 else ("Wait.", long))),
        )
        for number in range(24)
    ]
    ballots.put_up("acme", BALLOT, (f"{ADAPTER}@1.0", f"{ADAPTER}@1.1"), pairs, actor="kim")
    for voter, most in (("ann", 17), ("bob", 11)):
        for pair in pairs[:most]:
            better = "left" if pair.left == "b" else "right"
            said = better if dice.random() < 0.7 else "tie"
            ballots.vote("acme", BALLOT, pair.pair, voter, said)  # type: ignore[arg-type]
