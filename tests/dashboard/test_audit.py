"""The audit log's page: an order that was given in the dashboard stands there, with who gave it and what it changed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dashboard.pages.audit import entry_of
from tests.support.dashboard_parts import Visitor, seen
from tests.support.stack import Stack

ENTRY = {
    "id": 7,
    "at_ms": 0,
    "actor": "ann",
    "method": "DELETE",
    "route": "/admin/v1/keys/{key_id}",
    "path": "/admin/v1/keys/key-%3Cb%3E",
    "object": "key-<b>",
    "outcome": "done",
    "error": None,
    "address": "10.0.0.9",
    "body": {},
    "rows_untold": 0,
    "changes": [
        {"table": "api_keys", "key": "key-1", "before": {"revoked": None}, "after": {"revoked": 5}, "statements": []},
        {"table": "tenants", "key": "acme", "before": None, "after": {"name": "acme"}, "statements": []},
        {"table": "usage", "key": "*", "before": None, "after": None, "statements": ["delete"]},
    ],
}


@pytest.fixture(autouse=True)
def resumed(stack: Stack) -> Iterator[None]:
    yield
    stack.house.registry.drains.lift(stack.engine.url)
    stack.wait_ready()


def test_an_order_of_the_dashboard_is_in_the_log_with_its_operator(operator: Visitor, stack: Stack) -> None:
    operator.post("/fleet/drain", {"url": stack.engine.url, "reason": "a test of the log"})
    text = seen(operator.page("/audit?actor=root"))
    assert "root drain engine" in text
    assert "a test of the log" in text
    assert stack.engine.url in text
    assert "done" in text
    assert "drain engine" in seen(operator.page("/")), "and among what changed lately"


def test_a_log_in_which_nothing_is_like_that_says_so(operator: Visitor) -> None:
    assert "No order is like that." in seen(operator.page("/audit?actor=nobody"))
    assert operator.get("/audit?after=x").status_code == 200


@pytest.mark.parametrize(
    ("method", "route", "path", "said"),
    [
        ("POST", "/tenants", "/tenants", "add tenant"),
        ("POST", "/experiments/{experiment_id}/{action}", "/experiments/7/pause", "pause experiment"),
        ("POST", "/keys/{key_id}/rotate", "/keys/key-1/rotate", "rotate key"),
        ("POST", "/swaps", "/swaps", "promote"),
        ("POST", "/playground", "/playground", "playground"),
        ("POST", "/cost/engines", "/cost/engines", "set the cost of engines"),
        ("PUT", "/limits/{scope:path}", "/limits/adapter:acme/triage", "set limit"),
        ("PATCH", "/tenants/{tenant}", "/tenants/acme", "change tenant"),
        ("DELETE", "/tenants/{tenant}/files/{file_id}", "/tenants/acme/files/file-1", "delete file"),
        (None, "switchyard adapters promote", None, "adapters promote"),
    ],
)
def test_an_order_is_called_what_it_does(method: str | None, route: str, path: str | None, said: str) -> None:
    where = {} if method is None else {"route": f"/admin/v1{route}", "path": f"/admin/v1{path}"}
    assert entry_of({**ENTRY, "method": method, "route": route, "path": path, **where}).what == said


def test_an_order_is_told_in_words_and_its_changes_by_column() -> None:
    entry = entry_of(ENTRY)
    assert (entry.what, entry.kind, entry.origin) == ("delete key", "good", "from 10.0.0.9")
    assert [(one.where, one.before, one.after) for one in entry.changes] == [
        ("api_keys key-1: revoked", "None", "5"),
        ("tenants acme", "not there", "there"),
        ("usage *", "", "delete"),
    ]
    by_command = entry_of({**ENTRY, "method": None, "route": "switchyard keys create", "address": None})
    assert by_command.what == "keys create"
    assert by_command.origin == "by a command on a host of the gateway"
