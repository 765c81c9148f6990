"""Outcomes: added once, numbered in the order in which they can be seen, bounded, sealed, and gone with age."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError

from registry.errors import InvalidInput, NotFound
from registry.experiments.metrics import check_feedback_name
from registry.ledger.rows import USAGE
from registry.outcomes.rows import OutcomeAmount
from registry.outcomes.said import FeedbackIsFull, KeyOfOtherFeedback, Kind, NewOutcome, Said, Subject
from registry.outcomes.store import TABLE
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.waiting import DEADLINE_S

MOST = 1_000
ABOUT = Subject(1, "r1", 7, "1.1", "ab" * 16)


def piece(value: float | None = 1.0, *, key: str | None = None, about: Subject = ABOUT, **said: Any) -> NewOutcome:
    kind: Kind = "label" if value is None else "number"
    return NewOutcome(about, Said(said.pop("metric", "solved"), kind, value, **said), key)


def usage_row(**fields: Any) -> dict[str, Any]:
    return {
        "attempt_id": "r1-0",
        "request_id": "r1",
        "tenant": "acme",
        "key_id": "k",
        "requested_model": "triage",
        "served_model": "acme/triage@1.0",
        "endpoint": "chat",
        "engine": "http://e",
        "started_at_ms": 1,
        "outcome": "ok",
        **fields,
    }


def test_feedback_that_is_sent_a_thousand_times_is_one_row(registry: Registry) -> None:
    first = registry.outcomes.give("acme", [piece(key="k1")], MOST)[0]
    for _ in range(1_000):
        again = registry.outcomes.give("acme", [piece(key="k1")], MOST)[0]
        assert (again.id, again.at_ms, again.replayed) == (first.id, first.at_ms, True)
    assert not first.replayed
    assert len(registry.outcomes.after(1, 0)) == 1


def test_feedback_without_a_key_is_the_same_when_it_says_the_same_of_the_same_answer(registry: Registry) -> None:
    other = Subject(1, "r2", 7, "1.1", "ab" * 16)
    pieces = [piece(1.0), piece(1.0), piece(0.0), piece(1.0, about=other), piece(1.0, comment="ok")]
    assert [one.replayed for one in registry.outcomes.give("acme", pieces, MOST)] == [False, True, False, False, False]


def test_a_key_with_other_words_adds_nothing_of_what_came_with_it(registry: Registry) -> None:
    registry.outcomes.give("acme", [piece(key="k1")], MOST)
    with pytest.raises(KeyOfOtherFeedback, match="idempotency_key is 'k1'") as refused:
        registry.outcomes.give("acme", [piece(key="k0"), piece(0.0, key="k1")], MOST)
    assert refused.value.number == 1
    assert len(registry.outcomes.after(1, 0)) == 1


def test_a_key_means_something_for_its_own_tenant_alone(registry: Registry) -> None:
    registry.outcomes.give("acme", [piece(key="k1")], MOST)
    assert not registry.outcomes.give("globex", [piece(0.0, key="k1")], MOST)[0].replayed


def test_a_tenant_has_so_many_of_a_source_and_no_more(registry: Registry) -> None:
    registry.outcomes.give("acme", [piece(key="a"), piece(key="b")], 2)
    with pytest.raises(FeedbackIsFull):
        registry.outcomes.give("acme", [piece(key="c")], 2)
    assert registry.outcomes.give("acme", [piece(key="a")], 2)[0].replayed
    registry.outcomes.give("globex", [piece(key="c")], 2)
    found = [("acme", piece()), ("acme", piece()), ("acme", piece()), ("globex", piece())]
    assert registry.outcomes.add("automatic", found, 2) == {"acme"}


def test_what_is_deleted_makes_room_again(registry: Registry) -> None:
    registry.outcomes.give("acme", [piece(key="a"), piece(key="b")], 2)
    registry.outcomes.add("automatic", [("globex", piece())], MOST)
    assert registry.outcome_retention.delete("acme", actor="me") == 2
    registry.outcomes.give("acme", [piece(key="c"), piece(key="d")], 2)
    with registry.db.read() as session:
        amounts = session.query(OutcomeAmount.tenant, OutcomeAmount.source, OutcomeAmount.outcomes).all()
    assert {tuple(row) for row in amounts} == {("acme", "feedback", 2), ("globex", "automatic", 1)}
    with pytest.raises(NotFound):
        registry.outcome_retention.delete("nobody")


def test_outcomes_go_with_age(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.outcomes.store.now_ms", lambda: 1_000)
    registry.outcomes.give("acme", [piece(key="old")], MOST)
    monkeypatch.undo()
    registry.outcomes.give("acme", [piece(key="new")], MOST)
    assert registry.outcome_retention.expire(90, most_batches=5) == 1
    assert registry.outcome_retention.expire(90, most_batches=5) == 0
    assert len(registry.outcomes.after(1, 0)) == 1


def test_an_outcome_is_never_changed(registry: Registry) -> None:
    registry.outcomes.give("acme", [piece()], MOST)
    with pytest.raises(DBAPIError, match="never changed"), registry.db.write() as session:
        session.execute(update(TABLE).values(value=0.0))


def test_words_are_sealed_and_are_written_anew_with_a_newer_key(state_dir: Path) -> None:
    old, new = ("A" * 43 + "=", "B" * 42 + "A=")
    with Registry.open(RegistrySettings(state_dir=state_dir, store_key=old)) as registry:
        said = piece(None, metric="tone", label="rude", comment="he swore")
        registry.outcomes.give("acme", [said, piece()], MOST)
        with registry.db.read() as session:
            words = session.execute(text("SELECT words FROM outcomes WHERE words IS NOT NULL")).scalars().all()
        assert len(words) == 1
        assert b"rude" not in words[0]
        assert b"swore" not in words[0]
    with Registry.open(RegistrySettings(state_dir=state_dir, store_key=f"{new},{old}")) as registry:
        assert registry.outcome_retention.reseal() == 1
        assert registry.outcome_retention.reseal() == 0
    with Registry.open(RegistrySettings(state_dir=state_dir, store_key=new)) as registry:
        newest, first = registry.outcomes.feedback("acme", None, 10)
        assert (first.said.label, first.said.comment) == ("rude", "he swore")
        assert newest.said.label is None


def test_a_tenant_sees_its_own_feedback_newest_first_and_in_pages(registry: Registry) -> None:
    for number in range(5):
        registry.outcomes.give("acme", [piece(float(number))], MOST)
    registry.outcomes.give("globex", [piece(9.0)], MOST)
    registry.outcomes.add("automatic", [("acme", piece(8.0))], MOST)
    page = registry.outcomes.feedback("acme", None, 3)
    rest = registry.outcomes.feedback("acme", page[-1].id, 3)
    assert [one.said.value for one in (*page, *rest)] == [4.0, 3.0, 2.0, 1.0, 0.0]
    assert registry.outcomes.feedback("acme", None, 9, metric="other") == []


def test_who_reads_on_from_the_last_id_misses_nothing_of_writers_that_come_at_once(registry: Registry) -> None:
    writers, each = 4, 25
    failures: list[BaseException] = []

    def write(writer: int) -> None:
        try:
            for number in range(each):
                registry.outcomes.give("acme", [piece(key=f"{writer}-{number}")], MOST)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    seen: list[int] = []
    while any(thread.is_alive() for thread in threads):
        seen += [row.id for row in registry.outcomes.after(1, seen[-1] if seen else 0)]
    for thread in threads:
        thread.join(DEADLINE_S)
    seen += [row.id for row in registry.outcomes.after(1, seen[-1] if seen else 0)]
    assert not failures
    assert len(seen) == len(set(seen)) == writers * each
    assert seen == sorted(seen)


def test_a_request_is_found_by_its_own_tenant_and_by_the_attempt_that_succeeded(registry: Registry) -> None:
    first = usage_row(outcome="engine_failed", adapter_id=1, arm="1.0")
    second = usage_row(attempt_id="r1-1", started_at_ms=2, adapter_id=1, split_id=7, arm="1.1", unit_hash="ab" * 16)
    copy = usage_row(attempt_id="r1-s0", started_at_ms=3, arm="1.2", shadow=True)
    with registry.db.write() as session:
        session.execute(USAGE.insert(), [{**dict.fromkeys(USAGE.c.keys()), **row} for row in (first, second, copy)])
    subjects = registry.subjects.of_requests("acme", {"r1", "r2"})
    assert subjects == {"r1": Subject(1, "r1", 7, "1.1", "ab" * 16)}
    assert registry.subjects.of_requests("globex", {"r1"}) == {}


def test_feedback_takes_no_name_of_what_is_measured_here() -> None:
    assert check_feedback_name("solved") == "solved"
    for name in ("refusal", "judge_win", "Solved", "", "a" * 65, "a b"):
        with pytest.raises(InvalidInput, match="metric is"):
            check_feedback_name(name)
