"""`switchyard usage`: a table, a document, or CSV; and what it refuses."""

from __future__ import annotations

from registry.days import DAY_MS
from registry.service import Registry
from tests.support.cli_runner import Run, done, run, tiny_base
from tests.support.usage_rows import usage_row

__all__ = ["done", "run", "tiny_base"]


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


def test_an_empty_window_is_refused_and_told_why(done: Run, run: Run) -> None:
    with Registry.open() as registry:
        registry.ledger.record([usage_row("a")])
    for command in (("usage",), ("cost", "bill"), ("ledger", "reconcile")):
        empty = run(*command, "--from", "2020-05-05", "--until", "2020-05-01", "--json")
        assert (empty.status, empty.out) == (1, "")
        assert "--until is 2020-05-01, which is exclusive and not after from, 2020-05-05" in empty.err
        assert "for that one day, give 2020-05-06" in empty.err
        assert "--from is 2900-01-01, and the window ends before it" in run(*command, "--from", "2900-01-01").err
    assert len(done("usage", "--from", "1970-01-01", "--until", "1970-01-02").out.splitlines()) == 2


def test_what_has_no_price_shows_no_cost_rather_than_none(done: Run) -> None:
    with Registry.open() as registry:
        registry.ledger.record([usage_row("a"), usage_row("b", tenant="globex", cost_nano=0)])
        registry.ledger.record([usage_row("c", tenant="initech"), usage_row("d", tenant="initech", cost_nano=5)])
    heading, *lines = done("usage").out.splitlines()
    at = heading.index("COST $")
    assert [line[at:].split()[0] for line in lines] == ["–", "0", "0.000000005"]
    assert [line["cost_dollars"] for line in done("usage", "--json").document["lines"]] == [None, "0", "0.000000005"]


def test_a_day_with_nothing_but_probes_or_failures_has_no_cost_rather_than_none(done: Run) -> None:
    day = {name: DAY_MS * number + 1 for number, name in enumerate(("probes", "failures", "both", "mixed", "free"))}
    with Registry.open() as registry:
        registry.ledger.record(
            [
                usage_row("p", tenant="_system", started_at_ms=day["probes"]),
                usage_row("f", outcome="engine_failed", started_at_ms=day["failures"]),
                usage_row("b1", tenant="_system", started_at_ms=day["both"]),
                usage_row("b2", started_at_ms=day["both"]),
                usage_row("m1", tenant="_system", started_at_ms=day["mixed"]),
                usage_row("m2", cost_nano=7, started_at_ms=day["mixed"]),
                usage_row("z", cost_nano=0, started_at_ms=day["free"]),
            ]
        )
    lines = done("usage", "--by", "day", "--json").document["lines"]
    assert [line["cost_dollars"] for line in lines] == [None, None, None, "0.000000007", "0"]
    heading, *rows = done("usage", "--by", "day").out.splitlines()
    assert [row[heading.index("COST $") :].split()[0] for row in rows] == ["–", "–", "–", "0.000000007", "0"]


def test_a_correction_names_a_request_or_one_of_its_attempts(done: Run, run: Run) -> None:
    with Registry.open() as registry:
        registry.ledger.record([usage_row(name, request_id=name[:2]) for name in ("r1-0", "r2-0", "r2-1")])
    assert done("ledger", "correct", "r1", "--reason", "x", "--prompt", "1").out.startswith("r1-0: corrected")
    assert done("ledger", "correct", "r2-1", "--reason", "x", "--prompt", "1").out.startswith("r2-1: corrected")
    both = run("ledger", "correct", "r2", "--reason", "x", "--prompt", "1")
    assert "request r2 has 2 attempts; name one of r2-0 (ok), r2-1 (ok)" in both.err
    assert "name a request by its x-request-id" in run("ledger", "correct", "r3", "--reason", "x", "--prompt", "1").err


PRICE = ("--input", "1", "--cached-input", "0.5", "--output", "2", "--source", "x", "--from", "1970-01-01")


def test_usage_by_split_and_by_arm_is_shown_with_what_no_split_has_chosen(done: Run) -> None:
    with Registry.open() as registry:
        arms = [usage_row(f"a{number}", split_id=3, arm=f"1.{number % 2}") for number in range(3)]
        registry.ledger.record([*arms, usage_row("b")])
    by = {name: done("usage", "--by", name, "--json").document["lines"] for name in ("split", "arm")}
    assert [(line["name"], line["attempts"]) for line in by["split"]] == [("(none)", 1), ("split 3", 3)]
    assert [(line["name"], line["attempts"]) for line in by["arm"]][1:] == [("split 3: 1.0", 2), ("split 3: 1.1", 1)]


def dollars(done: Run) -> str:
    (line,) = done("usage", "--json").document["lines"]
    return str(line["cost_dollars"])


def test_the_dollars_of_a_correction_follow_its_tokens_at_the_price_of_then(done: Run, tiny_base: str) -> None:
    done("tariff", "add", f"base:{tiny_base}", *PRICE)
    done("tariff", "add", f"base:{tiny_base}", "--input", "900", "--output", "900", "--source", "dearer")
    with Registry.open() as registry:
        registry.ledger.record([usage_row("r1-0", request_id="r1", served_model=tiny_base, cost_nano=18_000)])
    said = done("ledger", "correct", "r1", "--reason", "x", "--prompt", "10", "--completion", "-1").out
    assert said == ("r1-0: corrected, x: prompt tokens 10 → 20, completion tokens 5 → 4, dollars 0.000018 → 0.000026\n")
    assert dollars(done) == "0.000026"
    document = done("ledger", "correct", "r1", "--reason", "x", "--cached", "2", "--json").document
    assert (document["cost_nano"], document["before"]["cost_nano"]) == (-1_000, 26_000)
    given = done("ledger", "correct", "r1", "--reason", "x", "--completion", "1", "--cost-nano", "0").out
    assert "dollars 0.000025 as before" in given
    credit = done("ledger", "correct", "r1", "--reason", "a credit", "--cost-nano", "-25000").out
    assert credit.endswith("a credit: dollars 0.000025 → 0\n")
    assert "dollars 0 as before" in done("ledger", "correct", "r1", "--reason", "x", "--completion", "-1").out


def test_a_correction_says_why_the_dollars_could_not_follow(done: Run, tiny_base: str) -> None:
    rows: dict[str, dict[str, object]] = {
        "none": {"served_model": tiny_base},
        "failed": {"served_model": tiny_base, "outcome": "engine_failed", "cost_nano": 0},
        "gone": {"served_model": "acme/triage@1.0", "cost_nano": 7},
        "probe": {"served_model": tiny_base, "tenant": "_system"},
    }
    with Registry.open() as registry:
        registry.ledger.record([usage_row(name, **changes) for name, changes in rows.items()])
    reasons = {
        "none": "the dollars stay at 0: no price was in force for tiny at 1970-01-01",
        "failed": "the dollars stay at 0: it ended as engine_failed, which is free whatever it used",
        "gone": "the dollars stay at 0.000000007: acme/triage@1.0 is not in the registry any more",
        "probe": "the dollars stay at 0: our own probes cost nobody anything",
    }
    for name, reason in reasons.items():
        assert reason in done("ledger", "correct", name, "--reason", "x", "--completion", "2").out
    done("tariff", "add", f"base:{tiny_base}", *PRICE)
    dated_back = done("ledger", "correct", "none", "--reason", "x", "--completion", "1").out
    assert "completion tokens 7 → 8, dollars 0 → 0.000024" in dated_back, "all of it, as nothing had a price"


def test_what_cannot_be_meant_is_refused_in_one_sentence(run: Run) -> None:
    both, by, day = run("usage", "--json", "--csv"), run("usage", "--by", "week"), run("usage", "--until", "today")
    assert [outcome.status for outcome in (both, by, day)] == [1, 1, 1]
    assert "choose one" in both.err
    assert "by is 'week'" in by.err
    assert "until is 'today'" in day.err
