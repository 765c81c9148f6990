"""The log on standard error: every logger's records in one form, a line each, into which nobody else can write one.

What others have named, or an engine has said, may have newlines in it and escape sequences of terminals. In JSON they
are escaped. On a console a record may have more lines, as tracebacks do: each of them begins with a bar that no
record's first line has, and control characters are written out.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from telemetry.settings import TelemetrySettings

OURS = ("switchyard", "uvicorn")
"""Loggers that may tell more than warnings. What some others say of each call has headers in it."""
MOST_CHARACTERS = 8_000
"""Of a message, and of a traceback, whose last ones are kept: an engine may answer with a megabyte."""
BAR = "    | "
"""Before the second and each later line of a record on a console."""


def log_to_stderr(settings: TelemetrySettings) -> None:
    """Have everything that this process logs written there, in the form and from the level of the settings."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if settings.log_format == "json" else ConsoleLines())
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler])
    logging.captureWarnings(True)
    for name in OURS:
        logging.getLogger(name).setLevel(max(level, logging.INFO) if name == "uvicorn" else level)


def printable(text: str) -> str:
    """The same with everything written out that is no printable character: newlines, escapes, marks that turn the
    direction of writing.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


class ConsoleLines(logging.Formatter):
    """`2026-11-29T17:20:01.123Z INFO switchyard.fleet[4711]: …`, and a bar before what follows in the same record."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record."""
        head = f"{_time_of(record)} {record.levelname} {record.name}[{record.process}]: "
        lines = [*_message_of(record).splitlines(), *(_trace_of(self, record) or "").splitlines()]
        return head + f"\n{BAR}".join(map(printable, lines))


class JsonLines(logging.Formatter):
    """An object with `at` (UTC), `level`, `logger`, `pid`, `message`, and `exception` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record; ASCII, because readers take more than a newline for the end of a line."""
        fields = {
            "at": _time_of(record),
            "level": record.levelname,
            "logger": record.name,
            "pid": record.process,
            "message": _message_of(record),
            "exception": _trace_of(self, record),
        }
        return json.dumps({name: value for name, value in fields.items() if value is not None}, separators=(",", ":"))


def _time_of(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message_of(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception:  # its arguments do not fit: what it was to say is still worth a line
        text = str(record.msg)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} … ({len(text)} characters)"


def _trace_of(formatter: logging.Formatter, record: logging.LogRecord) -> str | None:
    parts = []
    if record.exc_info:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)[-MOST_CHARACTERS:] or None
