"""Usage by day keeps copies of requests apart: nobody pays for them.

Revision ID: 0024
Revises: 0023
"""

from __future__ import annotations

import sqlalchemy as sa

from registry.migrations.usage_sums import PAID, drop_sums, make_sums

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

BEFORE = {
    "tenant": (sa.String(length=63), "r.tenant"),
    "key_id": (sa.String(length=32), "r.key_id"),
    "served_model": (sa.String(length=200), "r.served_model"),
    "adapter_id": (sa.BigInteger(), "coalesce(r.adapter_id, 0)"),
    "split_id": (sa.BigInteger(), "coalesce(r.split_id, 0)"),
    "arm": (sa.String(length=20), "coalesce(r.arm, '')"),
    "outcome": (sa.String(length=30), "r.outcome"),
}
"""What sums are kept apart by: the type, and where it comes from."""
SHADOW = "coalesce(r.shadow, FALSE)"
AFTER = {**BEFORE, "shadow": (sa.Boolean(), SHADOW)}


def upgrade() -> None:
    drop_sums()
    make_sums(AFTER, f"{PAID} AND NOT {SHADOW}")


def downgrade() -> None:
    drop_sums()
    make_sums(BEFORE)
