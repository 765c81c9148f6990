"""Help as it is read: a paragraph of a docstring is one line, which the terminal breaks, and not the editor."""

from __future__ import annotations

from typing import Any


def let_flow(command: Any) -> None:
    """Let the help of a click command, and of every command of a group, do so."""
    for below in getattr(command, "commands", {}).values():
        let_flow(below)
    if command.help:
        command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in command.help.split("\n\n"))
