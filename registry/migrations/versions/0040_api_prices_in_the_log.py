"""Prices of APIs are lines of the log of baselines.

Revision ID: 0040
Revises: 0039
"""

from __future__ import annotations

import hashlib
import json
import time

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

COMPONENTS = {
    "input": "input_nano_per_mtok",
    "cached_input": "cached_input_nano_per_mtok",
    "output": "output_nano_per_mtok",
}


def upgrade() -> None:
    connection = op.get_bind()
    prices = connection.execute(sa.text("SELECT * FROM api_prices ORDER BY id")).mappings().all()
    for price in prices:
        for component, column in COMPONENTS.items():
            _append(connection, component, price[column], price)
    op.drop_table("api_prices")
    if connection.dialect.name != "sqlite":
        op.execute("DROP FUNCTION api_prices_append_only()")


def _append(connection: sa.Connection, component: str, nano: int, price: sa.RowMapping) -> None:
    """A line, chained as `registry.prices.price_log` chained them when this was written."""
    last = connection.execute(sa.text("SELECT seq, digest FROM baseline_log ORDER BY seq DESC LIMIT 1")).first()
    seq, previous = (1, "") if last is None else (last.seq + 1, last.digest)
    said = {
        "name": price["model"],
        "field": component,
        "effective_from_ms": price["effective_from_ms"],
        "source": price["source"],
        "origin": "moved",
        "nano": nano,
        "text": None,
        "retrieved_at_ms": None,
        "stated_from_ms": None,
        "correction": False,
        "note": "",
    }
    added_at_ms = time.time_ns() // 1_000_000
    document = {**said, "seq": seq, "added_at_ms": added_at_ms, "previous": previous}
    written = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    line = {**said, "seq": seq, "added_at_ms": added_at_ms, "digest": f"sha256:{hashlib.sha256(written).hexdigest()}"}
    log = sa.table("baseline_log", *(sa.column(name) for name in line))
    connection.execute(log.insert().values(line))


def downgrade() -> None:
    """Without its rows: those are in the log."""
    op.create_table(
        "api_prices",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("effective_from_ms", sa.BigInteger(), nullable=False),
        sa.Column("input_nano_per_mtok", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_nano_per_mtok", sa.BigInteger(), nullable=False),
        sa.Column("output_nano_per_mtok", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=500), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_prices")),
        sa.UniqueConstraint("model", "effective_from_ms", name=op.f("uq_api_prices_model_effective_from_ms")),
    )
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER api_prices_no_{verb.lower()} BEFORE {verb} ON api_prices "
                "BEGIN SELECT RAISE(ABORT, 'api_prices is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION api_prices_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'api_prices is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER api_prices_append_only BEFORE UPDATE OR DELETE ON api_prices "
        "FOR EACH ROW EXECUTE FUNCTION api_prices_append_only()"
    )
