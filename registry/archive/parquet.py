"""Attempts as Parquet: written, and asked by SQL, with DuckDB. Only processes that archive or read archives load it.

It imports little, as a process that reads is started for every question.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from registry.errors import InvalidInput

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CORRECTIONS = "corrections"
"""The column behind those of the table: what was corrected of the attempt, `None` for nothing."""
Values = tuple[Any, ...]
Schema = Mapping[str, str]
"""Columns in their order, and the types that DuckDB gives them (`registry.archive.schema`)."""
MEMORY, THREADS = "512MB", 2
"""Of a process that reads or writes: what does not fit goes to a temporary folder."""


def written(schema: Schema, rows: Sequence[Values], corrections: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    """A file of these usage rows, in their order; `corrections` are those of each attempt by its id.

    The same rows are the same bytes, by the same release of DuckDB. Raises `InvalidInput` without the extra.
    """
    columns = ", ".join(f"{name}: '{type_}'" for name, type_ in schema.items())
    with _duckdb(threads=1) as (database, folder):
        given, made = folder / "rows.jsonl", folder / "rows.parquet"
        with given.open("wb") as file:
            for row in rows:
                document = dict(zip(schema, (*row, corrections.get(row[0])), strict=True))
                file.write(orjson.dumps(document) + b"\n")
        source = f"read_json('{given}', format='newline_delimited', columns={{{columns}}})"
        database.execute(f"COPY (SELECT * FROM {source}) TO '{made}' (FORMAT parquet, COMPRESSION zstd)")
        return made.read_bytes()


class OpenFiles:
    """Files of attempts as the tables `usage` and `usage_corrections` of the registry."""

    def __init__(self, database: DuckDBPyConnection) -> None:
        self._database = database

    def rows(self) -> list[Values]:
        """All attempts, in the columns and the order in which they were written."""
        return self.ask("SELECT * FROM usage")

    def corrections(self) -> dict[str, list[dict[str, Any]]]:
        """What was corrected, by attempt."""
        query = f"SELECT attempt_id, {CORRECTIONS} FROM whole WHERE {CORRECTIONS} IS NOT NULL"
        return dict(self._database.execute(query).fetchall())

    def ask(self, query: str) -> list[Values]:
        """The rows of a query that `in_duckdb` has made."""
        found: list[Values] = self._database.execute(query).fetchall()
        return found


@contextmanager
def opened(files: Iterable[Path], schema: Schema, *, halves: str) -> Iterator[OpenFiles]:
    """Ask files for the length of the block. `halves`: which whole number `round` makes of a half, as the registry's
    database does: the `even` one, or the one `away` from zero.

    Raises `InvalidInput` without the extra.
    """
    names = ", ".join(f"'{file}'" for file in files)
    rounded = "round_even(x, 0)" if halves == "even" else "round(x)"
    with _duckdb(threads=THREADS) as (database, _):
        database.execute("SET integer_division = true")
        database.execute(f"CREATE MACRO ledger_round(x) AS {rounded}")
        source = f"read_parquet([{names}], union_by_name=true)"
        found = {name for name, *_ in database.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
        columns = [
            name if name in found else f"NULL::{type_} AS {name}" for name, type_ in schema.items()
        ]  # files are older than some columns
        database.execute(f"CREATE VIEW whole AS SELECT {', '.join(columns)} FROM {source}")
        database.execute(f"CREATE VIEW usage AS SELECT * EXCLUDE ({CORRECTIONS}) FROM whole")
        each = f"SELECT attempt_id, unnest({CORRECTIONS}) AS one FROM whole"
        database.execute(f"CREATE VIEW usage_corrections AS SELECT attempt_id, one.* FROM ({each})")
        yield OpenFiles(database)


@contextmanager
def _duckdb(threads: int) -> Iterator[tuple[DuckDBPyConnection, Path]]:
    """A database of its own in memory, and a folder that goes with it."""
    try:
        import duckdb
    except ImportError:
        raise InvalidInput(
            "archives are read and written with DuckDB, which is not installed here: pip install 'switchyard[archive]'"
        ) from None

    with tempfile.TemporaryDirectory(prefix="usage-archive-") as folder:
        settings = {
            "threads": str(threads),
            "memory_limit": MEMORY,
            "temp_directory": folder,
            "autoinstall_known_extensions": "false",
            "preserve_insertion_order": "true",
        }
        database = duckdb.connect(config=settings)
        try:
            yield database, Path(folder)
        finally:
            database.close()
