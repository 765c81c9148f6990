"""How usage is added up by day, in SQL: a table of sums, and triggers that keep them right. Migrations remake them."""

from __future__ import annotations

import json
from collections.abc import Mapping

import sqlalchemy as sa
from alembic import op

Key = tuple[sa.types.TypeEngine[object], str]
"""Of a column that sums are kept apart by: the type, and where it comes from."""
SUMS = (
    "attempts",
    "unmetered",
    "unpriced",
    "partial",
    "estimated",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "cost_nano",
    "busy_ms",
    "ttft_us",
    "with_ttft",
)
TIMES = ("first_ms", "last_ms")
DAY = "r.started_at_ms / 86400000"
WRITER = "coalesce(substr(r.segment, 7, length(r.segment) - 13), '')"
ATTEMPT = """
    1,
    CASE WHEN r.completion_tokens IS NULL AND r.outcome NOT IN ('rejected', 'load_failed') THEN 1 ELSE 0 END,
    CASE WHEN {unpriced} THEN 1 ELSE 0 END,
    CASE WHEN r.usage_source = 'partial' THEN 1 ELSE 0 END, CASE WHEN r.usage_source = 'estimated' THEN 1 ELSE 0 END,
    coalesce(r.prompt_tokens, 0), coalesce(r.cached_tokens, 0), coalesce(r.completion_tokens, 0),
    coalesce(r.cost_nano, 0), coalesce(r.finished_at_ms - r.started_at_ms, 0),
    CAST(round(coalesce(r.ttft_ms, 0) * 1000) AS BIGINT), CASE WHEN r.ttft_ms IS NULL THEN 0 ELSE 1 END,
    r.started_at_ms, coalesce(r.finished_at_ms, r.started_at_ms)
"""
CORRECTION = """
    0, 0, 0, 0, 0, c.prompt_tokens, c.cached_tokens, c.completion_tokens, c.cost_nano, 0, 0, 0,
    CAST(NULL AS BIGINT), CAST(NULL AS BIGINT)
"""
PAID = "r.outcome IN ('ok', 'client_aborted') AND r.tenant <> '_system'"


def drop_sums() -> None:
    """The sums, and what keeps them."""
    drop_triggers()
    op.drop_table("usage_days")


def drop_triggers() -> None:
    """What adds attempts and corrections to the sums."""
    for table in ("usage", "usage_corrections"):
        if op.get_bind().dialect.name == "sqlite":
            op.execute(f"DROP TRIGGER {table}_adds_up")
        else:
            op.execute(f"DROP FUNCTION {table}_adds_up() CASCADE")


def make_sums(apart: Mapping[str, Key], paid: str = PAID) -> None:
    """The table, what is to be in it, and triggers that keep it so. `paid`: of which attempts somebody would pay."""
    keys = ("day", "writer", *apart)
    op.create_table(
        "usage_days",
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("writer", sa.String(length=140), nullable=False),
        *(sa.Column(name, type_, nullable=False) for name, (type_, _) in apart.items()),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in SUMS),
        *(sa.Column(name, sa.BigInteger(), nullable=True) for name in TIMES),
        sa.PrimaryKeyConstraint(*keys, name="pk_usage_days"),
    )
    into, attempt, correction, added = _statements(apart, paid)
    corrections = "usage_corrections c JOIN usage r ON r.attempt_id = c.attempt_id"
    for rows in (f"SELECT {attempt} FROM usage r", f"SELECT {correction} FROM {corrections}"):
        op.execute(f"{into} {_summed(rows, keys)} {added}")
    _add_archived(into, apart, added)
    make_triggers(apart, paid)


def make_triggers(apart: Mapping[str, Key], paid: str) -> None:
    """What adds attempts and corrections to the sums that are there, in the transaction that books them."""
    into, attempt, correction, added = _statements(apart, paid)
    new_attempt, new_correction = attempt.replace("r.", "NEW."), correction.replace("c.", "NEW.")
    _after_insert("usage", f"{into} VALUES ({new_attempt}) {added};")
    _after_insert(
        "usage_corrections",
        f"{into} SELECT {new_correction} FROM usage r WHERE r.attempt_id = NEW.attempt_id {added};",
    )


def _statements(apart: Mapping[str, Key], paid: str) -> tuple[str, str, str, str]:
    """The begin of an insert, the values of an attempt `r` and of a correction `c` of it, and the insert's end."""
    keys = ("day", "writer", *apart)
    of = ", ".join(where for _, where in apart.values())
    figures = ATTEMPT.format(unpriced=f"r.cost_nano IS NULL AND {paid}")
    return (
        f"INSERT INTO usage_days ({', '.join((*keys, *SUMS, *TIMES))})",
        f"{DAY}, {WRITER}, {of}, {figures}",
        f"{DAY}, 'corrections', {of}, {CORRECTION}",
        _added(keys),
    )


def _add_archived(into: str, apart: Mapping[str, Key], added: str) -> None:
    """What attempts come to that are in archives alone (`usage_archives`): under a key that they are older than, their
    sums are of the unknown.
    """
    bind = op.get_bind()
    if not sa.inspect(bind).has_table("usage_archives"):
        return
    names = ("day", "writer", *apart, *SUMS, *TIMES)
    insert = sa.text(f"{into} VALUES ({', '.join(f':{name}' for name in names)}) {added}")
    unknown = {name: _unknown(type_) for name, (type_, _) in apart.items()} | dict.fromkeys((*SUMS, *TIMES))
    for (sums,) in bind.execute(sa.text("SELECT sums FROM usage_archives WHERE restored_at_ms IS NULL")).all():
        for one in json.loads(sums) if isinstance(sums, str) else sums:
            bind.execute(insert, {name: one.get(name, unknown.get(name)) for name in names})


def _unknown(type_: sa.types.TypeEngine[object]) -> object:
    return "" if isinstance(type_, sa.String) else False if isinstance(type_, sa.Boolean) else 0


def _summed(rows: str, keys: tuple[str, ...]) -> str:
    """One row for each key: PostgreSQL adds no two rows of one statement to the same sum."""
    sums = [f"sum({name})" for name in SUMS]
    return (
        f"WITH one ({', '.join((*keys, *SUMS, *TIMES))}) AS ({rows}) "
        f"SELECT {', '.join((*keys, *sums, 'min(first_ms)', 'max(last_ms)'))} FROM one GROUP BY {', '.join(keys)}"
    )


def _added(keys: tuple[str, ...]) -> str:
    """To what is there already. The aggregates of two values have other names elsewhere than in SQLite."""
    least, most = ("min", "max") if op.get_bind().dialect.name == "sqlite" else ("least", "greatest")
    changes = [f"{name} = usage_days.{name} + excluded.{name}" for name in SUMS]
    changes += [f"first_ms = {least}(usage_days.first_ms, excluded.first_ms)"]
    changes += [f"last_ms = {most}(usage_days.last_ms, excluded.last_ms)"]
    return f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {', '.join(changes)}"


def _after_insert(table: str, statement: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"CREATE TRIGGER {table}_adds_up AFTER INSERT ON {table} BEGIN {statement} END")
        return
    op.execute(
        f"CREATE FUNCTION {table}_adds_up() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {statement} RETURN NULL; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_adds_up AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_adds_up()"
    )
