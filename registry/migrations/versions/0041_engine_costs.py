"""What engines cost, when they were there and for how long they were busy; usage by day is kept apart by engine.

Hourly prices of hosts become lines of the log of engine costs: of every engine, where there was one kind of host, else
of a pool of the host's name, to which no engine belongs before it is declared to.

Revision ID: 0041
Revises: 0040
"""

from __future__ import annotations

from dataclasses import asdict
from urllib.parse import urlsplit

import sqlalchemy as sa
from alembic import op

from registry.chained_log import digest_after
from registry.engine_costs.log import CostSaid
from registry.migrations.usage_sums import PAID, drop_sums, make_sums
from registry.money import nano_to_dollars

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

LOG, SPANS, BUSY, POLICIES, HOSTS = (
    "engine_cost_log",
    "engine_spans",
    "engine_busy_days",
    "idle_policies",
    "host_prices",
)
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SHADOW = "coalesce(r.shadow, FALSE)"
BEFORE = {
    "tenant": (sa.String(length=63), "r.tenant"),
    "key_id": (sa.String(length=32), "r.key_id"),
    "served_model": (sa.String(length=200), "r.served_model"),
    "adapter_id": (sa.BigInteger(), "coalesce(r.adapter_id, 0)"),
    "split_id": (sa.BigInteger(), "coalesce(r.split_id, 0)"),
    "arm": (sa.String(length=20), "coalesce(r.arm, '')"),
    "outcome": (sa.String(length=30), "r.outcome"),
    "shadow": (sa.Boolean(), SHADOW),
}
"""What sums are kept apart by: the type, and where it comes from."""
AFTER = {
    "tenant": BEFORE["tenant"],
    "key_id": BEFORE["key_id"],
    "served_model": BEFORE["served_model"],
    "engine_id": (sa.String(length=200), "coalesce(r.engine_id, r.engine)"),
    **{name: BEFORE[name] for name in ("adapter_id", "split_id", "arm", "shadow", "outcome")},
}
RESTART_WITHIN_MS = 900_000
"""As `registry.engine_costs.spans` has it."""


def upgrade() -> None:
    drop_sums()
    make_sums(AFTER, f"{PAID} AND NOT {SHADOW}")
    op.create_table(
        LOG,
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("scope", sa.String(length=210), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("nano_per_hour", sa.BigInteger(), nullable=False),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("effective_from_ms", sa.BigInteger(), nullable=False),
        sa.Column("correction", sa.Boolean(), nullable=False),
        sa.Column("source", sa.String(length=500), nullable=False),
        sa.Column("actor", sa.String(length=100), nullable=False),
        sa.Column("added_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=f"pk_{LOG}"),
    )
    op.create_table(
        SPANS,
        sa.Column("id", ID, primary_key=True),
        sa.Column("engine_id", sa.String(length=200), nullable=False),
        sa.Column("url", sa.String(length=200), nullable=False),
        sa.Column("host", sa.String(length=200), nullable=False),
        sa.Column("pool", sa.String(length=63), nullable=True),
        sa.Column("base_digest", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("boot_ms", sa.BigInteger(), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("derived", sa.Boolean(), nullable=False),
    )
    op.create_index("ix_engine_spans_seen_at_ms", SPANS, ["seen_at_ms"])
    open_ = sa.text("ended_at_ms IS NULL")
    op.create_index(
        "uq_engine_spans_open", SPANS, ["engine_id"], unique=True, sqlite_where=open_, postgresql_where=open_
    )
    op.create_table(
        BUSY,
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("engine_id", sa.String(length=200), nullable=False),
        sa.Column("busy_ms", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "engine_id", name=f"pk_{BUSY}"),
    )
    op.create_table(
        POLICIES,
        sa.Column("id", ID, primary_key=True),
        sa.Column("policy", sa.String(length=20), nullable=False),
        sa.Column("shares", sa.JSON(), nullable=False),
        sa.Column("actor", sa.String(length=100), nullable=False),
        sa.Column("added_at_ms", sa.BigInteger(), nullable=False),
    )
    _move_hosts()
    _derive_spans()
    for table in (LOG, POLICIES):
        _refuse_changes(table)
    op.drop_table(HOSTS)
    if op.get_bind().dialect.name != "sqlite":
        op.execute(f"DROP FUNCTION {HOSTS}_append_only()")


def downgrade() -> None:
    """What engines cost is lost: what was there before has no place for it."""
    op.create_table(
        HOSTS,
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("effective_from_ms", sa.BigInteger(), nullable=False),
        sa.Column("nano_per_hour", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=500), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_host_prices"),
        sa.UniqueConstraint("name", "effective_from_ms", name="uq_host_prices_name_effective_from_ms"),
    )
    _refuse_changes(HOSTS)
    for table in (POLICIES, BUSY, SPANS, LOG):
        op.drop_table(table)
    if op.get_bind().dialect.name != "sqlite":
        for table in (LOG, POLICIES):
            op.execute(f"DROP FUNCTION {table}_append_only()")
    drop_sums()
    make_sums(BEFORE, f"{PAID} AND NOT {SHADOW}")


def _move_hosts() -> None:
    connection = op.get_bind()
    prices = connection.execute(
        sa.text(f"SELECT name, effective_from_ms, nano_per_hour, source FROM {HOSTS} ORDER BY effective_from_ms, id")
    ).all()
    one_kind = len({name for name, *_ in prices}) == 1
    plain = [name for name in CostSaid.__dataclass_fields__ if name != "terms"]
    columns = [*map(sa.column, (*plain, "seq", "added_at_ms", "digest")), sa.column("terms", sa.JSON())]
    log = sa.table(LOG, *columns)
    digest = ""
    for seq, (name, from_ms, nano, source) in enumerate(prices, 1):
        scope = "*" if one_kind else f"pool:{name}"
        told = f"{source} (moved from the host price of {name})"[:500]
        said = CostSaid(scope, "on_demand", nano, {"hourly": nano_to_dollars(nano)}, from_ms, False, told, "migration")
        digest = digest_after(digest, seq, 0, asdict(said))
        fields = {field: getattr(said, field) for field in CostSaid.__dataclass_fields__}
        connection.execute(log.insert().values(**fields, seq=seq, added_at_ms=0, digest=digest))


def _derive_spans() -> None:
    """A stay for each boot that was read, to its last reading; of engines that were never read, one for each day on
    which they were used.
    """
    connection = op.get_bind()
    ids = dict(
        connection.execute(
            sa.text("SELECT engine, max(engine_id) FROM usage WHERE engine_id IS NOT NULL GROUP BY engine")
        ).all()
    )
    read = connection.execute(
        sa.text("SELECT engine, boot_ms, max(answered_ms) FROM engine_readings GROUP BY engine, boot_ms ORDER BY 1, 2")
    ).all()
    stays: list[dict[str, object]] = []
    for url, boot_ms, seen_ms in read:
        stay = _stay(ids.get(url, url), url, boot_ms, boot_ms, max(seen_ms, boot_ms))
        last = stays[-1] if stays and stays[-1]["url"] == url else None
        if last is not None and boot_ms - int(str(last["seen_at_ms"])) <= RESTART_WITHIN_MS:
            last |= {name: stay[name] for name in ("boot_ms", "seen_at_ms", "ended_at_ms")}
        else:
            stays.append(stay)
    known = {stay["engine_id"] for stay in stays}
    used = connection.execute(
        sa.text(
            "SELECT engine_id, min(first_ms), max(last_ms) FROM usage_days "
            "WHERE first_ms IS NOT NULL AND outcome NOT IN ('rejected', 'load_failed') GROUP BY engine_id, day "
            "ORDER BY 1, 2"
        )
    ).all()
    stays += [_stay(engine, engine, 0, first, last) for engine, first, last in used if engine not in known]
    spans = sa.table(SPANS, *(sa.column(name) for name in _stay("", "", 0, 0, 0)))
    for stay in stays:
        connection.execute(spans.insert().values(**stay))


def _stay(engine_id: str, url: str, boot_ms: int, started_ms: int, seen_ms: int) -> dict[str, object]:
    return {
        "engine_id": engine_id,
        "url": url,
        "host": urlsplit(url).hostname or "",
        "pool": None,
        "base_digest": "",
        "kind": "",
        "boot_ms": boot_ms,
        "started_at_ms": started_ms,
        "seen_at_ms": seen_ms,
        "ended_at_ms": seen_ms,
        "derived": True,
    }


def _refuse_changes(table: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} is append-only'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {table}_append_only()"
    )
