"""Why a child ended: its status, and the line of its log that says so. Never a line that says something else."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from pathlib import Path

NEAR_END = 60
"""An error that so many lines followed was not the end."""
SHOWN_CHARACTERS = 300
SPEECHLESS = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
"""Who ends by these was ended by others, and its log does not know why."""

_PREFIX = re.compile(
    r"^(?:    \| )?(\([\w .-]+ pid=\d+\) |\[rank\d+\]: )*"
    r"((?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\] )?"
)
"""What vLLM puts before each line, also of a traceback; and what our own log does before a record's later lines."""
_LEVEL = re.compile(r"\b(DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)\b")
_COMPLAINT = re.compile(
    r"^([\w./-]+: )?(error|fatal|fatal error|fatal python error)\b|terminate called|^\s*what\(\):", re.I
)
_TRACEBACK = "Traceback (most recent call last):"
_EXCEPTION = re.compile(r"^([A-Za-z_][\w.]*)(: .*)?$")
_HARMLESS = re.compile(r"(^|\.)(CancelledError|KeyboardInterrupt|SystemExit|BrokenPipeError)$")
_POINTS_ABOVE = re.compile(r"see (the )?(root cause|stack trace|error|traceback)s? above", re.I)
_PROGRESS = re.compile(r"\d+%\|")


def oom_kills() -> int:
    """Processes that the kernel has killed for lack of memory since it booted; 0 where it does not tell."""
    try:
        found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def reason_of(status: int, text: str, *, oom_killed: bool = False) -> str:
    """One sentence for a child that ended with `status` (negative: a signal) and wrote `text`.

    `oom_killed` is true when the kernel has killed something for lack of memory meanwhile.
    """
    ended = f"ended with status {status}" if status >= 0 else _by_signal(-status, oom_killed)
    if status < 0 and -status in SPEECHLESS:
        return ended
    words = last_words(text, any_line=status > 0)
    return f"{ended}: {words}" if words else f"{ended}, and its log names no reason"


def _by_signal(number: int, oom_killed: bool) -> str:
    if number == signal.SIGKILL:
        return (
            "killed by the kernel because memory ran out (SIGKILL)"
            if oom_killed
            else "killed by SIGKILL: somebody's kill -9, or its container ran out of memory"
        )
    try:
        return f"killed by {signal.Signals(number).name}"
    except ValueError:
        return f"killed by signal {number}"


def last_words(text: str, *, any_line: bool = False) -> str | None:
    """The error that `text` ends with; with `any_line` else its last line, if that is no message of a log."""
    lines = [_PREFIX.sub("", line.rstrip()) for line in text.splitlines()]
    levels = [_level(line) for line in text.splitlines()]
    near = max(0, len(lines) - NEAR_END)
    errors = _errors(lines, levels)
    late = [error for at, error in errors if at >= near]
    if late:
        cause = late[-1]
        if _POINTS_ABOVE.search(cause):  # so an older one is meant, wherever it stands
            cause = next((error for _, error in reversed(errors) if not _POINTS_ABOVE.search(error)), cause)
        return cause[:SHOWN_CHARACTERS]
    said = [(line.strip(), level) for line, level in zip(lines, levels, strict=True) if line.strip()]
    if (
        any_line
        and said
        and said[-1][1] is None
        and not (_PROGRESS.search(said[-1][0]) or _HARMLESS.search(said[-1][0]))
    ):
        return said[-1][0][:SHOWN_CHARACTERS]
    return None


def _errors(lines: Sequence[str], levels: Sequence[str | None]) -> list[tuple[int, str]]:
    """Every error with its line number: exceptions of tracebacks, and what is said to be an error outside of them."""
    found = []
    at = 0
    while at < len(lines):
        if lines[at].strip().lstrip("|+ ").startswith(_TRACEBACK):
            at, error = _exception(lines, at + 1)
            if error:
                found.append((at, error))
        elif (
            levels[at] in ("ERROR", "CRITICAL", "FATAL") or (levels[at] is None and _COMPLAINT.search(lines[at]))
        ) and (error := lines[at].strip()):
            found.append((at, error))
        at += 1
    return found


def _exception(lines: Sequence[str], at: int) -> tuple[int, str | None]:
    """Where the traceback ends whose frames begin at `at`, and its exception; pydantic's with the first field."""
    while at < len(lines) and (lines[at].startswith((" ", "\t")) or not lines[at]):
        at += 1
    found = _EXCEPTION.match(lines[at]) if at < len(lines) else None
    if found is None or _HARMLESS.search(found[1]):
        return at, None
    error = lines[at].strip()
    if "validation error" in error:
        error = " ".join([error, *(line.strip() for line in lines[at + 1 : at + 3])])
    return at, error


def _level(line: str) -> str | None:
    found = _LEVEL.search(line[:120])
    return found[1] if found else None
