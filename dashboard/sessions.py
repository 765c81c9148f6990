"""Who is logged in, and the links that log in once. In this process's memory: a restart asks everybody again."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["read", "operate", "tenant"]
MOST_SESSIONS = 1000
MOST_LINKS = 100
MOST_OF_A_KEY = 20
"""Sessions, and as many links: who has one key ends no session of others by logging in without end."""


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a key belongs to, as the gateway says."""

    name: str
    role: Role
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Flash:
    """What the next page says once."""

    text: str
    kind: Literal["done", "fault"] = "done"
    remedy: str = ""


@dataclass(slots=True)
class Session:
    """One browser that is logged in."""

    person: Person
    ends_at_s: float
    flashes: list[Flash] = field(default_factory=list)

    @property
    def may_operate(self) -> bool:
        """Whether it may order anything."""
        return self.person.role == "operate"


class Sessions:
    """All of them; the oldest ends when there are too many."""

    def __init__(self, life_s: float, link_life_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._life_s = life_s
        self._link_life_s = link_life_s
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._links: dict[str, tuple[float, Person]] = {}

    def begin(self, person: Person) -> str:
        """A new session's id, for the cookie."""
        _make_room(self._sessions, [name for name, one in self._sessions.items() if one.person.key == person.key])
        name = secrets.token_urlsafe(32)
        self._sessions[name] = Session(person, self._clock() + self._life_s)
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        return name

    def find(self, name: str) -> Session | None:
        """The session of that id, which lives on from now; `None` when there is none."""
        session = self._sessions.get(name)
        if session is None:
            return None
        now = self._clock()
        if now >= session.ends_at_s:
            del self._sessions[name]
            return None
        session.ends_at_s = now + self._life_s
        return session

    def end(self, name: str) -> None:
        """Log out."""
        self._sessions.pop(name, None)

    def end_all_of(self, key: str) -> None:
        """Log out whoever came with a key that is in force no more."""
        for name in [name for name, one in self._sessions.items() if one.person.key == key]:
            del self._sessions[name]

    def make_link(self, person: Person) -> str:
        """A token that logs in once, and soon."""
        _make_room(self._links, [token for token, (_, one) in self._links.items() if one.key == person.key])
        token = secrets.token_urlsafe(32)
        self._links[token] = (self._clock() + self._link_life_s, person)
        while len(self._links) > MOST_LINKS:
            self._links.pop(next(iter(self._links)))
        return token

    def look_at_link(self, token: str) -> Person | None:
        """Whom it would log in; it is not used up."""
        ends_at_s, person = self._links.get(token, (0.0, None))
        return person if self._clock() < ends_at_s else None

    def use_link(self, token: str) -> Person | None:
        """Whom it logs in; it is used up by that. `None`: it never was, it is used up, or too old."""
        person = self.look_at_link(token)
        self._links.pop(token, None)
        return person


def _make_room(held: dict[str, Any], of_key: list[str]) -> None:
    """For one more; the oldest of the key goes first."""
    for name in of_key[: max(0, len(of_key) - MOST_OF_A_KEY + 1)]:
        del held[name]
