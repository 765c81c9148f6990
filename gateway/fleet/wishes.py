"""What requests that wait for engines want."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol

from gateway.fleet.view import EngineView, FleetView


class Wish(Protocol):
    """What a request that waits wants."""

    @property
    def where(self) -> Hashable:
        """As `fair_share.Waiting` says."""

    def engine(self) -> EngineView | None:
        """The engine that it would begin on now; `None`: all that could take it are full."""

    def hopeless(self) -> bool:
        """Whether there is no engine left that could ever take it."""


class OnEngine:
    """The wish of who has an engine already, but no seat on it now."""

    def __init__(self, view: Callable[[], FleetView], has_seat: Callable[[EngineView], bool], url: str) -> None:
        self._view = view
        self._has_seat = has_seat
        self._url = url

    @property
    def where(self) -> Hashable:
        """That engine alone."""
        return self._url

    def engine(self) -> EngineView | None:
        """That engine, when it has a seat."""
        engine = self._view().engine(self._url)
        return engine if engine is not None and self._has_seat(engine) else None

    def hopeless(self) -> bool:
        """Whether it takes no traffic any more."""
        return self._view().engine(self._url) is None
