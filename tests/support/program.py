"""A program that a test has written, which uses ours: `python -m tests.support.program CODE ARGUMENT…`."""

from __future__ import annotations

import sys


def running(code: str, *arguments: str) -> list[str]:
    """The command that runs it. What a program must not import, or how it begins, is no matter for this."""
    return [sys.executable, "-m", "tests.support.program", code, *arguments]


if __name__ == "__main__":
    exec(compile(sys.argv.pop(1), "<program>", "exec"), {"__name__": "__main__"})  # a test's own
