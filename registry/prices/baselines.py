"""Baselines: APIs that the same traffic could have gone to. What is known of them, as of any version of the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import groupby
from operator import attrgetter
from threading import RLock
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from registry.db import Database, now_ms
from registry.errors import NotFound
from registry.prices import baseline_writing as writing
from registry.prices.baseline_infos import (
    CHECKED,
    CLAIM,
    COMPONENTS,
    FACTS,
    LIVE,
    RETIRED,
    RETIRING,
    STATUS,
    BaselineInfo,
    Claim,
    Fact,
    Origin,
    PricePeriod,
    State,
)
from registry.prices.baseline_writing import Facts, News
from registry.prices.price_log import PRICE_LOG, Said
from registry.prices.rows import BaselineLine
from registry.prices.shipped import shipped_lines
from registry.prices.taking import Taken, news_in, take
from registry.prices.timeline import periods_of


class Baselines:
    """Reads and appends. `version` is a price version wherever it is a parameter; without one the newest is read."""

    def __init__(
        self, db: Database, clock_ms: Callable[[], int] = now_ms, shipped: Callable[[], list[Said]] = shipped_lines
    ) -> None:
        """What `shipped` gives goes into the log before that is read or written here first."""
        self._db = db
        self._clock_ms = clock_ms
        self._to_take: Callable[[], list[Said]] | None = shipped
        self._taking = RLock()

    def version(self) -> str:
        """The price version of all that is known now, such as `p57-1f0c9a3e`; `p0` of an empty log."""
        with self._read() as session:
            return PRICE_LOG.version(session)

    def names(self, version: str | None = None) -> list[str]:
        """Every baseline. Raises `NotFound` for a version that never was, as all that take one do."""
        with self._read() as session:
            return _names(session, _upto(session, version))

    def prices(self, name: str, version: str | None = None) -> tuple[PricePeriod, ...]:
        """Every price that ever held or is to come, oldest first; empty when none is known.

        Raises `NotFound` for a name that is not in the log: `unlisted` is what a report calls it.
        """
        with self._read() as session:
            return periods_of(name, _lines(session, name, _upto(session, version)))

    def info(self, name: str, version: str | None = None, at_ms: int | None = None) -> BaselineInfo:
        """What is known of a baseline, with its state at an instant (default: now). Raises `NotFound`."""
        with self._read() as session:
            return _info(name, _lines(session, name, _upto(session, version)), at_ms or self._clock_ms())

    def infos(self, version: str | None = None, at_ms: int | None = None) -> list[BaselineInfo]:
        """The same of every baseline, by name."""
        with self._read() as session:
            query = _upto_seq(select(BaselineLine), _upto(session, version))
            lines: list[BaselineLine] = [*session.scalars(query)]
            by_name = groupby(sorted(lines, key=lambda line: (line.name, line.seq)), key=attrgetter("name"))
            return [_info(name, [*of_name], at_ms or self._clock_ms()) for name, of_name in by_name]

    def names_from(self, origin: Origin) -> list[str]:
        """Those of which something was put into the log by it."""
        query = select(BaselineLine.name).where(BaselineLine.origin == origin).distinct()
        with self._read() as session:
            return sorted(session.scalars(query))

    def add_prices(
        self,
        name: str,
        dollars: Mapping[str, str],
        *,
        source: str,
        effective_from_ms: int | None = None,
        retrieved_at_ms: int | None = None,
        note: str = "",
    ) -> str:
        """Add prices by component, in decimal dollars per million tokens, from a date on (default: today, UTC); the
        price version that has them.

        A date before today is taken where the component had no price by then, as that changes no figure that was one.
        Raises `InvalidInput` or `Conflict`.
        """
        news = News(name, dict(dollars), source, effective_from_ms, retrieved_at_ms, note)
        return self._append(lambda session, at_ms: writing.add_prices(session, news, at_ms))

    def correct(
        self,
        name: str,
        dollars: Mapping[str, str | None],
        *,
        source: str,
        effective_from_ms: int,
        retrieved_at_ms: int | None = None,
        note: str = "",
    ) -> str:
        """Say what prices were from a date on to the next one that is dated; `None`: there was none.

        What was reported with an older price version stays as it is. Raises `InvalidInput`, or `NotFound` for a
        baseline that is not in the log.
        """
        news = News(name, dict(dollars), source, effective_from_ms, retrieved_at_ms, note)
        return self._append(lambda session, at_ms: writing.correct(session, news, at_ms))

    def say(self, name: str, facts: Facts, *, source: str, retrieved_at_ms: int | None = None, note: str = "") -> str:
        """Say what else is known of a baseline; the last word counts. Raises `InvalidInput`."""
        return self._append(
            lambda session, at_ms: writing.say(session, name, facts, (source, retrieved_at_ms, note), at_ms)
        )

    def faults(self) -> list[str]:
        """What is wrong with the log, a sentence each; empty when nobody has touched it."""
        with self._read() as session:
            return PRICE_LOG.faults(session)

    def take(self, said: Sequence[Said]) -> Taken:
        """Take a list into the log, as `registry.prices.taking` says; what was new and what was left."""
        with self._read() as session:
            news = news_in(session, said, self._clock_ms())
        if not news.added:
            return news
        with self._db.write() as session:
            PRICE_LOG.lock(session)
            return take(session, said, self._clock_ms())

    @contextmanager
    def _read(self) -> Iterator[Session]:
        self._take_shipped()
        with self._db.read() as session:
            yield session

    @contextmanager
    def locked(self) -> Iterator[Session]:
        """A session in which nobody else adds lines, for what is stored together with a line of its own."""
        self._take_shipped()
        with self._db.write() as session:
            PRICE_LOG.lock(session)
            yield session

    def _append(self, write: Callable[[Session, int], object]) -> str:
        with self.locked() as session:
            write(session, self._clock_ms())
            return PRICE_LOG.version(session)

    def _take_shipped(self) -> None:
        with self._taking:
            if (shipped := self._to_take) is not None:
                self._to_take = None
                try:
                    self.take(shipped())
                except Exception:
                    self._to_take = shipped
                    raise


def _upto(session: Session, version: str | None) -> int | None:
    return None if version is None else PRICE_LOG.seq_of(session, version)


def _names(session: Session, upto: int | None) -> list[str]:
    return sorted(session.scalars(_upto_seq(select(BaselineLine.name).distinct(), upto)))


def _upto_seq(query: Select[Any], upto: int | None) -> Select[Any]:
    return query if upto is None else query.where(BaselineLine.seq <= upto)


def _lines(session: Session, name: str, upto: int | None) -> Sequence[BaselineLine]:
    query = select(BaselineLine).where(BaselineLine.name == name).order_by(BaselineLine.seq)
    lines: Sequence[BaselineLine] = session.scalars(_upto_seq(query, upto)).all()
    if not lines:
        names = _names(session, upto)
        nearest = get_close_matches(name[:200], names, n=3, cutoff=0.5)
        known = f"did you mean {' or '.join(nearest)}?" if nearest else f"known: {', '.join(names) or 'none'}."
        raise NotFound(
            f"baseline is {name[:80]!r}, and no price of it is known; {known} `switchyard cost baselines add-price` or "
            "`import` adds one",
            param="baseline",
        )
    return lines


def _info(name: str, lines: Sequence[BaselineLine], at_ms: int) -> BaselineInfo:
    last = {line.field: line for line in lines}
    facts = {
        field: Fact(line.text or "", line.source, line.retrieved_at_ms, line.note, line.seq)
        for field, line in last.items()
        if field in FACTS
    }
    texts = {field: fact.text or None for field, fact in facts.items()}
    state, ends_at_ms = _state(last.get(STATUS), at_ms)
    return BaselineInfo(
        name,
        state,
        ends_at_ms,
        texts.get("substitute"),
        texts.get("tokenizer"),
        texts.get("provider"),
        _claim(last.get(CLAIM)),
        facts,
        max(
            (line.retrieved_at_ms for line in lines if line.field in (*COMPONENTS, CHECKED) and line.retrieved_at_ms),
            default=None,
        ),
    )


def _claim(line: BaselineLine | None) -> Claim | None:
    if line is None or line.nano is None:
        return None
    return Claim(line.nano, line.text or "", line.source, line.note, line.seq)


def _state(status: BaselineLine | None, at_ms: int) -> tuple[State | None, int | None]:
    if status is None:
        return None, None
    if status.text == LIVE:
        return LIVE, None
    return (RETIRED if status.effective_from_ms <= at_ms else RETIRING), status.effective_from_ms
