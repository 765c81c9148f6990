"""What every command needs: a table for people, one JSON document for scripts, and who is at the keyboard."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

JsonFlag = typer.Option(False, "--json", help="Print one JSON document instead of text for people.")

console = Console(highlight=False)


def plain(value: Any) -> Any:
    """Dataclasses, sets and version numbers as JSON-ready values."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(plain(value), indent=2, ensure_ascii=False))


def print_done(document: Any, sentence: str, json_output: bool) -> None:
    """What a command has changed: a document for scripts, or a sentence for people."""
    print_json(document) if json_output else typer.echo(sentence)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "nothing yet") -> None:
    """A table that never wraps words into ellipses when piped; `empty` is said when there are no rows."""
    table = Table(*headings, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(str(cell) if cell is not None else "–" for cell in row))
    if not table.rows:
        typer.echo(empty)
        return
    width = None if console.is_terminal else 240
    Console(highlight=False, width=width).print(table)


def actor() -> str:
    """Who is at the keyboard; in a container the user may have a number and no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def when(ms: int | None) -> str:
    """Milliseconds since the epoch as local time for people."""
    if ms is None:
        return "–"
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
