"""`switchyard usage`: a table, a document, or CSV; and what it refuses."""

from __future__ import annotations

from registry.service import Registry
from tests.cli_runner import Run, done, run
from tests.registry.usage import usage_row

__all__ = ["done", "run"]


def test_usage_is_shown_to_people_scripts_and_spreadsheets(done: Run) -> None:
    assert done("usage").out == "no usage in this window\n"
    with Registry.open() as registry:
        registry.ledger.record([usage_row("a"), usage_row("b", served_model="acme/triage@1.1", ttft_ms=12.5)])
    table = done("usage", "--by", "version").out.splitlines()
    assert table[0].split()[:3] == ["TENANT", "VERSION", "ATTEMPTS"]
    assert [line.split()[1] for line in table[1:]] == ["acme/triage@1.0", "acme/triage@1.1"]
    document = done("usage", "--by", "adapter", "--tenant", "acme", "--json").document
    assert [(line["name"], line["prompt_tokens"]) for line in document["lines"]] == [("acme/triage", 20)]
    heading, line = done("usage", "--by", "day", "--csv").out.splitlines()
    assert heading.startswith("tenant,name,attempts,ok,")
    assert line.startswith(",1970-01-01,2,2,")
    assert done("usage", "--from", "1970-01-02", "--csv").out.splitlines() == [heading]


def test_an_empty_window_is_said_to_be_one_and_why(done: Run) -> None:
    with Registry.open() as registry:
        registry.ledger.record([usage_row("a")])
    said = done("usage", "--from", "1970-01-01", "--until", "1970-01-01")
    assert said.out == (
        "the window is empty: --until 1970-01-01 is exclusive, and not after --from 1970-01-01; for that one day, say "
        "--until 1970-01-02\n"
    )
    assert "not after --from 2020-05-05" in done("usage", "--from", "2020-05-05", "--until", "2020-05-01").out
    assert "--from 2900-01-01 is later than now" in done("usage", "--from", "2900-01-01").out
    quiet = done("usage", "--from", "1970-01-01", "--until", "1970-01-01", "--json")
    assert quiet.document["lines"] == []
    assert "the window is empty" in quiet.err
    assert len(done("usage", "--from", "1970-01-01", "--until", "1970-01-02").out.splitlines()) == 2


def test_what_has_no_price_shows_no_cost_rather_than_none(done: Run) -> None:
    with Registry.open() as registry:
        registry.ledger.record([usage_row("a"), usage_row("b", tenant="globex", cost_nano=0)])
        registry.ledger.record([usage_row("c", tenant="initech"), usage_row("d", tenant="initech", cost_nano=5)])
    heading, *lines = done("usage").out.splitlines()
    at = heading.index("COST $")
    assert [line[at:].split()[0] for line in lines] == ["–", "0", "0.000000005"]
    assert [line["cost_dollars"] for line in done("usage", "--json").document["lines"]] == [None, "0", "0.000000005"]


def test_a_correction_names_a_request_or_one_of_its_attempts(done: Run, run: Run) -> None:
    with Registry.open() as registry:
        registry.ledger.record([usage_row(name, request_id=name[:2]) for name in ("r1-0", "r2-0", "r2-1")])
    assert done("ledger", "correct", "r1", "--reason", "x", "--prompt", "1").out.startswith("r1-0: corrected")
    assert done("ledger", "correct", "r2-1", "--reason", "x", "--prompt", "1").out.startswith("r2-1: corrected")
    both = run("ledger", "correct", "r2", "--reason", "x", "--prompt", "1")
    assert "request r2 has 2 attempts; name one of r2-0 (ok), r2-1 (ok)" in both.err
    assert "name a request by its x-request-id" in run("ledger", "correct", "r3", "--reason", "x", "--prompt", "1").err


def test_what_cannot_be_meant_is_refused_in_one_sentence(run: Run) -> None:
    both, by, day = run("usage", "--json", "--csv"), run("usage", "--by", "week"), run("usage", "--until", "today")
    assert [outcome.status for outcome in (both, by, day)] == [1, 1, 1]
    assert "choose one" in both.err
    assert "by is 'week'" in by.err
    assert "until is 'today'" in day.err
