"""What the ledger says about the lengths of answers."""

from __future__ import annotations

from typing import Any

from registry.ledger.output_lengths import LengthCount, count_lengths
from registry.service import Registry
from tests.support.usage_rows import usage_row


def record(registry: Registry, *rows: dict[str, Any]) -> None:
    counted = {"usage_source": "engine"}
    registry.ledger.record([usage_row(f"a{number}", **{**counted, **row}) for number, row in enumerate(rows)])


def counts(registry: Registry, since_ms: int = 0, newest: int = 100) -> list[LengthCount]:
    return sorted(count_lengths(registry.db, ("chat",), since_ms, newest), key=lambda one: (one.model, one.tokens))


def test_equal_lengths_are_counted_by_tenant_and_model(registry: Registry) -> None:
    record(
        registry,
        {},
        {"prompt_tokens": 90},
        {"completion_tokens": 7},
        {"served_model": "acme/triage@1.1"},
        {"served_model": "tiny-1.5"},
        {"tenant": "globex", "served_model": "tiny-1.5"},
    )
    found = counts(registry)
    assert sorted(found, key=lambda one: (one.model, one.tokens, one.tenant, -one.answers)) == [
        LengthCount("acme", "acme/triage", 5, 2, 95),
        LengthCount("acme", "acme/triage", 5, 1, 15),
        LengthCount("acme", "acme/triage", 7, 1, 17),
        LengthCount("acme", "tiny-1.5", 5, 1, 15),
        LengthCount("globex", "tiny-1.5", 5, 1, 15),
    ]


def test_only_whole_answers_to_chat_requests_for_one_count(registry: Registry) -> None:
    record(
        registry,
        {"outcome": "client_aborted", "usage_source": "partial"},
        {"outcome": "engine_failed"},
        {"usage_source": "estimated", "completion_tokens": None},
        {"endpoint": "completions"},
        {"n": 2},
        {"tenant": "_system"},
        {"n": 1, "completion_tokens": 8, "prompt_tokens": None},
    )
    assert counts(registry) == [LengthCount("acme", "acme/triage", 8, 1, 8)]


def test_the_newest_of_an_adapter_count_whatever_its_version(registry: Registry) -> None:
    record(
        registry,
        *(
            {"started_at_ms": at, "completion_tokens": at, "served_model": f"acme/triage@1.{at % 12}"}
            for at in range(40)
        ),
        {"started_at_ms": 3, "completion_tokens": 3, "served_model": "acme/other@1.0"},
    )
    found = counts(registry, since_ms=3, newest=10)
    assert sorted(one.tokens for one in found if "triage" in one.model) == list(range(30, 40))
    assert [one.tokens for one in found if "other" in one.model] == [3]


def test_answers_that_their_clients_have_bounded_are_not_counted(registry: Registry) -> None:
    record(registry, {"bounded_by_us": False}, {"bounded_by_us": True, "completion_tokens": 7}, {"bounded_by_us": None})
    assert [(one.tokens, one.answers) for one in counts(registry)] == [(5, 1), (7, 1)]
