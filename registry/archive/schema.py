"""The columns of a file of attempts, as DuckDB names their types: those of `usage`, and what was corrected."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Float, Integer, String

from registry.archive.parquet import CORRECTIONS
from registry.ledger.usage_record import COLUMNS, CORRECTABLE

CORRECTION = (*CORRECTABLE, "reason", "actor", "created_at_ms")
"""What is kept of a correction."""
NAMES = tuple(column.name for column in COLUMNS)
_TYPES = {BigInteger: "BIGINT", Integer: "INTEGER", String: "VARCHAR", Float: "DOUBLE", Boolean: "BOOLEAN"}
_TEXT = ("reason", "actor")
_FIELDS = ", ".join(f"{name} {'VARCHAR' if name in _TEXT else 'BIGINT'}" for name in CORRECTION)
SCHEMA = {column.name: _TYPES[type(column.type)] for column in COLUMNS} | {CORRECTIONS: f"STRUCT({_FIELDS})[]"}
