"""Whom long work tells how far it is: the command line has a console for it, which no other room knows."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class LiveLine(Protocol):
    """One line that changes while something takes long."""

    def update(self, text: str) -> None:
        """Show this now."""


class Teller(Protocol):
    """Shows people what happens."""

    def say(self, *lines: str) -> None:
        """Lines that stay."""

    def live(self, text: str) -> AbstractContextManager[LiveLine]:
        """A line that is gone at the end of the block, and that is not shown where lines cannot change."""
