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


def test_what_cannot_be_meant_is_refused_in_one_sentence(run: Run) -> None:
    both, by, day = run("usage", "--json", "--csv"), run("usage", "--by", "week"), run("usage", "--until", "today")
    assert [outcome.status for outcome in (both, by, day)] == [1, 1, 1]
    assert "choose one" in both.err
    assert "by is 'week'" in by.err
    assert "until is 'today'" in day.err
