"""Usage rows name adapter, version and engine by id, how likely their arm was and which unit they are of; usage by day
is kept apart by adapter, split and arm too.

Revision ID: 0021
Revises: 0020
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from registry.migrations.usage_sums import drop_sums, make_sums

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

ADDED = (
    ("adapter_id", sa.BigInteger()),
    ("version_id", sa.BigInteger()),
    ("propensity", sa.Float()),
    ("shadow", sa.Boolean()),
    ("engine_id", sa.String(length=200)),
    ("unit_hash", sa.String(length=32)),
)
"""NULL in rows that there are: those never change, and their digests were made without these."""
BEFORE = {
    "tenant": (sa.String(length=63), "r.tenant"),
    "key_id": (sa.String(length=32), "r.key_id"),
    "served_model": (sa.String(length=200), "r.served_model"),
    "outcome": (sa.String(length=30), "r.outcome"),
}
"""What sums are kept apart by: the type, and where it comes from."""
AFTER = {
    "tenant": BEFORE["tenant"],
    "key_id": BEFORE["key_id"],
    "served_model": BEFORE["served_model"],
    "adapter_id": (sa.BigInteger(), "coalesce(r.adapter_id, 0)"),
    "split_id": (sa.BigInteger(), "coalesce(r.split_id, 0)"),
    "arm": (sa.String(length=20), "coalesce(r.arm, '')"),
    "outcome": BEFORE["outcome"],
}


def upgrade() -> None:
    drop_sums()
    for name, type_ in ADDED:
        op.add_column("usage", sa.Column(name, type_, nullable=True))
    make_sums(AFTER)


def downgrade() -> None:
    drop_sums()
    for name, _ in ADDED:
        op.drop_column("usage", name)
    make_sums(BEFORE)
