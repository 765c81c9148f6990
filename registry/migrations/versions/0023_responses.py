"""Responses and conversations of tenants, and how long a tenant's are kept.

Revision ID: 0023
Revises: 0022
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

TENANT, ID = sa.String(63), sa.String(80)


def upgrade() -> None:
    op.add_column("tenants", sa.Column("response_days", sa.BigInteger(), nullable=True))
    op.create_table(
        "responses",
        _tenant(),
        sa.Column("id", ID, nullable=False),
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("background", sa.Boolean(), nullable=False),
        sa.Column("previous_id", ID, nullable=True),
        sa.Column("conversation_id", ID, nullable=True),
        sa.Column("turn", sa.LargeBinary(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_responses"),
    )
    op.create_index("ix_responses_tenant_created", "responses", ["tenant", "created_at_ms"])
    op.create_table(
        "conversations",
        _tenant(),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_position", sa.BigInteger(), nullable=False),
        sa.Column("about", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_conversations"),
    )
    op.create_index("ix_conversations_tenant_used", "conversations", ["tenant", "used_at_ms"])
    op.create_table(
        "conversation_items",
        sa.Column("tenant", TENANT, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("item", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "conversation_id", "position", name="pk_conversation_items"),
        sa.ForeignKeyConstraint(
            ["tenant", "conversation_id"],
            ["conversations.tenant", "conversations.id"],
            name="fk_conversation_items_tenant_conversation_id_conversations",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ux_conversation_items_id", "conversation_items", ["tenant", "conversation_id", "id"], unique=True)
    op.create_table(
        "background_runs",
        sa.Column("tenant", TENANT, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("worker", sa.String(140), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_background_runs"),
        sa.ForeignKeyConstraint(
            ["tenant", "id"],
            ["responses.tenant", "responses.id"],
            name="fk_background_runs_tenant_id_responses",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_background_runs_worker", "background_runs", ["worker"])


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant", TENANT, sa.ForeignKey("tenants.name", ondelete="CASCADE"), nullable=False)


def downgrade() -> None:
    for table in ("background_runs", "conversation_items", "conversations", "responses"):
        op.drop_table(table)
    op.drop_column("tenants", "response_days")
