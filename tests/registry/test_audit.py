"""The audit log: an order is in it before it is done, with what it changed, and nobody can edit it."""

from __future__ import annotations

import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import LargeBinary, func, select, text
from sqlalchemy.exc import DBAPIError

from registry.audit.changes import HASHES
from registry.audit.naming import about_of, tenant_of
from registry.audit.order import MOST_ROWS
from registry.audit.rows import AuditLine
from registry.audit.secrets import HIDDEN, told
from registry.audit.store import AuditEntry, RowChange, Wanted
from registry.names import parse_ref
from registry.schema import whole_schema
from registry.service import Registry
from registry.tenants.rows import Tenant
from tests.registry.conftest import Shop
from tests.support.ordered import ordered


def newest(registry: Registry, **wanted: Any) -> AuditEntry:
    return registry.audit.page(Wanted(**wanted), None, 1)[0]


def test_an_order_has_what_it_changed_before_and_after_and_what_came_of_it(registry: Registry) -> None:
    with ordered("acme", body={"response_days": 30}):
        registry.tenants.change("acme", {"response_days": 30})
    with ordered("acme"):
        registry.tenants.change("acme", {"response_days": None, "shadow_consent": True})
    second, first = registry.audit.page(Wanted(), None, 10)
    assert (first.actor, first.object, first.outcome, first.status) == ("ada", "acme", "done", 200)
    assert first.body == {"response_days": 30}
    assert first.changes == (RowChange("tenants", "acme", {"response_days": None}, {"response_days": 30}),)
    before, after = {"response_days": 30, "shadow_consent": False}, {"response_days": None, "shadow_consent": True}
    assert second.changes == (RowChange("tenants", "acme", before, after),)


def test_new_rows_and_those_that_are_gone_are_told_whole_but_for_what_opens_something(registry: Registry) -> None:
    with ordered():
        key = registry.tenants.create_key("acme", label="shop")
    (made,) = newest(registry).changes
    assert made.before is None
    assert made.after is not None
    assert made.after["label"] == "shop"
    assert "sha256" not in made.after
    with registry.db.read() as session:
        assert not any(key.secret in document for document in session.scalars(select(AuditLine.document)))
    with ordered():
        registry.drains.order("http://10.0.0.1:8000", actor="ada", reason="heat")
    with ordered():
        registry.drains.lift("http://10.0.0.1:8000")
    (lifted,) = newest(registry).changes
    assert (lifted.table, lifted.key, lifted.after) == ("engine_drains", "http://10.0.0.1:8000", None)
    assert lifted.before is not None
    assert lifted.before["reason"] == "heat"


def test_what_nobody_ordered_leaves_no_line(registry: Registry) -> None:
    registry.tenants.change("acme", {"response_days": 30})
    with ordered():
        registry.tenants.get("acme")
    assert registry.audit.page(Wanted(), None, 10) == []


def test_a_change_that_is_rolled_back_is_no_change_and_its_order_is_there(registry: Registry) -> None:
    def change_and_fail() -> None:
        with registry.db.write() as session:
            session.get_one(Tenant, "acme").response_days = 5
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError), ordered():
        change_and_fail()
    assert newest(registry).changes == ()


def test_who_dies_in_between_leaves_an_order_without_an_outcome_and_its_change(registry: Registry) -> None:
    lost = contextvars.copy_context()

    def die() -> None:
        with ordered() as order:
            registry.tenants.change("acme", {"response_days": 30})
            order.end = lambda *_, **__: None  # type: ignore[method-assign]

    lost.run(die)
    entry = newest(registry)
    assert (entry.outcome, entry.status, entry.ended_at_ms) == ("unknown", None, None)
    assert entry.changes[0].after == {"response_days": 30}


def test_what_comes_after_the_end_is_not_the_orders_doing(registry: Registry) -> None:
    with ordered() as order:
        registry.tenants.change("acme", {"response_days": 30})
    with ordered("other") as other:
        other.begin(registry.db)
        other.end("refused")
        registry.tenants.change("acme", {"response_days": 31})
    assert order.seq is not None
    assert newest(registry).changes == ()


def test_rows_past_the_session_are_told_by_their_table_and_verb(registry: Registry) -> None:
    with ordered(), registry.db.write() as session:
        session.execute(AuditLine.metadata.tables["engine_drains"].delete())
    (change,) = newest(registry).changes
    assert change == RowChange("engine_drains", "*", None, None, ("delete",))


def test_of_an_order_that_changes_much_the_first_rows_are_told_and_the_others_counted(registry: Registry) -> None:
    with ordered():
        for number in range(MOST_ROWS + 5):
            registry.tenants.create(f"tenant-{number}")
    entry = newest(registry)
    assert (len(entry.changes), entry.rows_untold) == (MOST_ROWS, 5)
    assert registry.audit.prove().faults == ()


def test_orders_are_found_by_whose_they_are_about_also_where_only_what_they_changed_says_it(shop: Shop) -> None:
    registry = shop.registry
    shop.versions(2)
    shop.promote("acme/triage@1.0")
    with ordered("experiments/1"):
        registry.swaps.request(parse_ref("acme/triage@1.1"), alias="production", actor="ada")
    with ordered("globex", tenant="globex"):
        registry.tenants.change("globex", {"response_days": 3})
    assert [one.object for one in registry.audit.page(Wanted(tenant="acme"), None, 10)] == ["experiments/1"]
    assert [one.object for one in registry.audit.page(Wanted(object="acme/triage"), None, 10)] == ["experiments/1"]
    assert registry.audit.page(Wanted(object="acme/tri"), None, 10) == []
    assert [one.object for one in registry.audit.page(Wanted(tenant="globex"), None, 10)] == ["globex"]
    assert registry.audit.page(Wanted(actor="bob"), None, 10) == []
    assert registry.audit.page(Wanted(since_ms=10**15), None, 10) == []
    every = registry.audit.page(Wanted(), None, 10)
    assert registry.audit.page(Wanted(), every[0].id, 10) == every[1:]


def test_an_order_about_two_is_found_by_either(registry: Registry) -> None:
    with ordered("acme/triage@1.1 against acme/answers"):
        registry.tenants.create("umbrella")
    for about in ("acme/triage@1.1", "acme/triage", "acme/answers", "acme"):
        assert newest(registry, object=about).object == "acme/triage@1.1 against acme/answers"
    for about in ("acme/tri", "answers", "acme/ans"):
        assert registry.audit.page(Wanted(object=about), None, 1) == []


@pytest.mark.parametrize(
    ("said", "about", "tenant"),
    [
        ({"a": "base", "b": "acme/triage@1.1"}, "base against acme/triage@1.1", "acme"),
        ({"a": "acme/triage@1.0", "b": "acme/triage@1.1"}, "acme/triage@1.0 against acme/triage@1.1", "acme"),
        ({"a": "org/model", "a_url": "http://x", "b": "acme/triage"}, "org/model against acme/triage", "acme"),
        ({"a": "base", "b": "tiny", "tenant": "globex"}, "base against tiny", "globex"),
        ({"adapter": "acme/triage", "version": "1.1"}, "acme/triage@1.1", "acme"),
        ({"version": "acme/triage@1.1"}, "acme/triage@1.1", "acme"),
        ({"version": "1.1"}, "1.1", None),
        ({"scope": "adapter:acme/triage"}, "adapter:acme/triage", "acme"),
        ({"scope": "tenant:acme"}, "tenant:acme", "acme"),
        ({"a": "base"}, "", None),
    ],
)
def test_what_an_order_is_about_and_whose_it_is_are_told_by_its_own_names(
    said: dict[str, str], about: str, tenant: str | None
) -> None:
    assert (about_of({}, said), tenant_of(about, said)) == (about, tenant)


@pytest.mark.parametrize("statement", ["UPDATE audit_lines SET actor = 'eve'", "DELETE FROM audit_lines"])
def test_no_line_can_be_changed_or_taken_away(registry: Registry, statement: str) -> None:
    with ordered():
        registry.tenants.change("acme", {"response_days": 30})
    with pytest.raises(DBAPIError, match="audit_lines is append-only"), registry.db.write() as session:
        session.execute(text(statement))


def test_it_can_neither_be_emptied_nor_replaced(registry: Registry) -> None:
    with ordered():
        registry.tenants.change("acme", {"response_days": 30})
    columns = "seq, at_ms, order_seq, kind, {}, tenant, object, document, digest"
    replaced = (
        f"REPLACE INTO audit_lines ({columns.format('actor')}) SELECT {columns.format(repr('eve'))} FROM audit_lines"
    )
    sqlite = registry.db.engine.dialect.name == "sqlite"
    with pytest.raises(DBAPIError, match="audit_lines is append-only"), registry.db.write() as session:
        session.execute(text(replaced if sqlite else "TRUNCATE audit_lines"))
    assert registry.audit.prove().faults == ()


def test_no_table_whose_rows_stay_as_they_are_can_be_emptied(registry: Registry) -> None:
    if registry.db.engine.dialect.name == "sqlite":
        return  # it knows no TRUNCATE
    for table in ("admin_actions", "usage_corrections", "tariffs", "certificates", "baseline_log"):
        with pytest.raises(DBAPIError, match="is append-only"), registry.db.write() as session:
            session.execute(text(f"TRUNCATE {table} CASCADE"))


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE audit_lines SET actor = 'eve' WHERE seq = 4", "line 4 of the audit log is not what was written"),
        ("DELETE FROM audit_lines WHERE seq = 2", "line 2 of the audit log is missing"),
        ("UPDATE audit_lines SET document = replace(document, '30', '31') WHERE seq = 2", "line 2 of the audit log is"),
    ],
)
def test_who_gets_past_the_triggers_is_found_out(registry: Registry, statement: str, fault: str) -> None:
    for _ in range(2):
        with ordered(body={"response_days": 30}):
            registry.tenants.change("acme", {"response_days": 30})
            registry.tenants.change("acme", {"response_days": 30 + 1})
    assert registry.audit.prove().faults == ()
    sqlite = registry.db.engine.dialect.name == "sqlite"
    with registry.db.write() as session:
        for name in ("no_update", "no_delete") if sqlite else ("append_only",):
            session.execute(text(f"DROP TRIGGER audit_lines_{name}" + ("" if sqlite else " ON audit_lines")))
        session.execute(text(statement))
    assert registry.audit.prove().faults[0].startswith(fault)


def test_orders_at_once_make_one_chain(registry: Registry) -> None:
    def change(number: int) -> None:
        with ordered(f"tenant-{number}"):
            registry.tenants.create(f"tenant-{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(change, range(12)))
    assert registry.audit.prove() == type(registry.audit.prove())(lines=36, faults=())
    entries = registry.audit.page(Wanted(), None, 100)
    assert sorted(entry.changes[0].key for entry in entries) == sorted(entry.object for entry in entries)


def test_no_column_that_opens_something_is_told() -> None:
    """Whoever adds a column for a secret: seal it (LargeBinary), or name it in `HASHES`."""
    suspects = {
        f"{table.name}.{column.name}"
        for table in whole_schema().tables.values()
        for column in table.columns
        if any(word in column.name for word in ("secret", "sha256", "password", "token_hash"))
        and not isinstance(column.type, LargeBinary)
        and column.name not in HASHES
    }
    assert suspects == set()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"secret": "x", "api_key": "y", "token": "t"}, {"secret": HIDDEN, "api_key": HIDDEN, "token": HIDDEN}),
        ({"admin_key": "z"}, {"admin_key": HIDDEN}),
        ({"messages": [{"role": "user", "content": "of a tenant"}]}, {"messages": HIDDEN}),
        ({"key_variable": "ENGINE_KEY_A", "key_id": "key-1"}, {"key_variable": "ENGINE_KEY_A", "key_id": "key-1"}),
        ({"daily_tokens": 5, "tokens": [1]}, {"daily_tokens": 5, "tokens": [1]}),
        ({"url": "https://ada:pw@host/x"}, {"url": f"https://{HIDDEN}@host/x"}),
        ({"note": "it is sk-operator-abcdefghijk, keep it"}, {"note": f"it is sk-{HIDDEN}, keep it"}),
        ({"deep": {"list": [{"client_secret": "s"}]}}, {"deep": {"list": [{"client_secret": HIDDEN}]}}),
        ({"nul": "a\0b", "half": "\ud800", "nan": float("nan")}, {"nul": "ab", "half": "?", "nan": "nan"}),
        ({"long": "x" * 5_000}, {"long": "x" * 2_000 + "… (5000 characters)"}),
    ],
)
def test_secrets_are_left_out_and_texts_are_bounded(given: dict[str, Any], kept: dict[str, Any]) -> None:
    assert told(given) == kept


def test_of_a_document_that_is_long_as_a_whole_its_size_and_digest_are_kept() -> None:
    document = told({f"field-{number}": "x" * 1_000 for number in range(100)})
    assert set(document) == {"left_out", "sha256"}
    assert told({"a": "b"}) == {"a": "b"}


def test_the_log_is_counted_up_without_a_gap(registry: Registry) -> None:
    with ordered():
        registry.tenants.change("acme", {"response_days": 30})
    with registry.db.read() as session:
        assert session.execute(select(func.count(), func.max(AuditLine.seq)).select_from(AuditLine)).one() == (3, 3)
