"""Units of experiments may have a judge's verdict, which is taken in once.

Revision ID: 0039
Revises: 0038
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None

UNITS, VERDICTS, WAITING = "experiment_units", "pair_verdicts", "ix_pair_verdicts_waiting"
NOT_YET = sa.text("taken_in IS NULL")


def upgrade() -> None:
    op.add_column(UNITS, sa.Column("judged_seq", sa.Integer(), nullable=True))
    op.add_column(UNITS, sa.Column("judged", sa.String(24), nullable=True))
    op.add_column(VERDICTS, sa.Column("taken_in", sa.Boolean(), nullable=True))
    columns = ["shadow_id", "judge", "at_ms"]
    op.create_index(WAITING, VERDICTS, columns, sqlite_where=NOT_YET, postgresql_where=NOT_YET)


def downgrade() -> None:
    op.drop_index(WAITING, VERDICTS)
    op.drop_column(VERDICTS, "taken_in")
    for name in ("judged", "judged_seq"):
        op.drop_column(UNITS, name)
