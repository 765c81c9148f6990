"""What was made for a key until it was over is paid for, as what a client has left is.

Revision ID: 0056
Revises: 0055
"""

from __future__ import annotations

import sqlalchemy as sa

from registry.migrations.usage_sums import PAID, drop_triggers, make_triggers

revision = "0056"
down_revision = "0055"
branch_labels = None
depends_on = None

SHADOW = "coalesce(r.shadow, FALSE)"
APART = {
    "tenant": (sa.String(length=63), "r.tenant"),
    "key_id": (sa.String(length=32), "r.key_id"),
    "served_model": (sa.String(length=200), "r.served_model"),
    "engine_id": (sa.String(length=200), "coalesce(r.engine_id, r.engine)"),
    "adapter_id": (sa.BigInteger(), "coalesce(r.adapter_id, 0)"),
    "split_id": (sa.BigInteger(), "coalesce(r.split_id, 0)"),
    "arm": (sa.String(length=20), "coalesce(r.arm, '')"),
    "shadow": (sa.Boolean(), SHADOW),
    "outcome": (sa.String(length=30), "r.outcome"),
}
"""As 0041 has it."""
ENDED_PAID = "(r.outcome = 'key_revoked' AND r.tenant <> '_system')"


def upgrade() -> None:
    drop_triggers()
    make_triggers(APART, f"(({PAID}) OR {ENDED_PAID}) AND NOT {SHADOW}")


def downgrade() -> None:
    drop_triggers()
    make_triggers(APART, f"{PAID} AND NOT {SHADOW}")
