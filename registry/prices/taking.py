"""Prices and facts that come from a list, this package's or another's, are taken into the log as news.

A list is read again and again: what the log has is not added twice. What it says now of days that had a price is news
of today, so that no figure of before changes; and what an operator wrote down is never superseded by a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.days import date_of, day_number, day_of
from registry.money import nano_to_dollars
from registry.prices.baseline_infos import CHECKED, COMPONENTS, LIVE, STATUS
from registry.prices.price_log import PRICE_LOG, Said
from registry.prices.rows import BaselineLine
from registry.prices.timeline import by_date, fills_a_gap, in_force

BY_HAND = ("operator", "moved")


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a list."""

    added: tuple[Said, ...]
    left: tuple[str, ...]
    """What was not taken, a sentence each."""


def news_in(session: Session, said: Iterable[Said], at_ms: int) -> Taken:
    """What of a list is new to the log, and what of it cannot be taken. Writes nothing."""
    added: list[Said] = []
    left: list[str] = []
    for name, of_name in _by_name(said).items():
        lines = list(session.scalars(select(BaselineLine).where(BaselineLine.name == name).order_by(BaselineLine.seq)))
        known = {line.field for line in lines}
        for one in of_name:
            if one.field not in COMPONENTS:
                news = _fact(one, lines)
            elif one.effective_from_ms or one.field not in known:
                news = _price(one, lines, at_ms)
            else:
                news = _undated(one, lines, at_ms)
            if isinstance(news, str):
                left.append(news)
            elif news is not None:
                added.append(news)
                lines.append(_line(news, at_ms))
    return Taken(tuple(added), tuple(left))


def take(session: Session, said: Sequence[Said], at_ms: int) -> Taken:
    """Append what is new; the log must be locked."""
    taken = news_in(session, said, at_ms)
    PRICE_LOG.append_all(session, taken.added, at_ms)
    return taken


def _by_name(said: Iterable[Said]) -> dict[str, list[Said]]:
    """Facts, then prices, the last date first: so all that lie before what the log has fill its gap; then when they
    were looked at.
    """
    found: dict[str, list[Said]] = {}
    for one in sorted(said, key=lambda one: (one.field == CHECKED, one.field in COMPONENTS, -one.effective_from_ms)):
        found.setdefault(one.name, []).append(one)
    return found


def _fact(said: Said, lines: Sequence[BaselineLine]) -> Said | str | None:
    if said.field == CHECKED:
        known = any((line.retrieved_at_ms or 0) >= said.effective_from_ms for line in lines)
        return None if known else said
    last = next((line for line in reversed(lines) if line.field == said.field), None)
    if last is None:
        return said
    ends = said.field == STATUS and said.text != LIVE
    if (last.text, last.nano) == (said.text, said.nano) and (
        not ends or last.effective_from_ms == said.effective_from_ms
    ):
        return None
    if last.origin in BY_HAND:
        return f"{said.field} of {said.name} is {said.text!r} by {said.source}; yours is kept ({last.text!r})"
    return said if last.origin == said.origin else None


def _price(said: Said, lines: Sequence[BaselineLine], at_ms: int) -> Said | str | None:
    dates = by_date(lines).get(said.field, {})
    from_ms, (today_ms, _) = said.effective_from_ms, day_of(at_ms)
    of_date = [
        line for line in lines if line.field == said.field and from_ms in (line.effective_from_ms, line.stated_from_ms)
    ]
    told = [line for line in of_date if line.origin == said.origin]
    said_then = told or of_date
    holds = said_then[-1] if said_then else in_force(dates, from_ms)
    if holds is not None and holds.nano == said.nano:
        return None
    if not of_date and fills_a_gap(dates, from_ms, at_ms):
        return said
    now = in_force(dates, max(from_ms, today_ms))
    if now is not None and now.origin in BY_HAND:
        return _left(said, f"yours is kept ({_dollars(now)})")
    if from_ms >= today_ms:
        return replace(said, correction=True)
    if now is not None and now.effective_from_ms > from_ms and now not in of_date:
        return _left(said, f"a newer one is known ({_dollars(now)})")
    return replace(said, effective_from_ms=today_ms, stated_from_ms=from_ms, correction=today_ms in dates)


def _undated(said: Said, lines: Sequence[BaselineLine], at_ms: int) -> Said | str | None:
    """A price without a first day, of a component that has prices: nobody knows that it held before today."""
    dates, (today_ms, _) = by_date(lines)[said.field], day_of(at_ms)
    told = [line for line in lines if line.field == said.field and line.origin == said.origin and _without_date(line)]
    now = in_force(dates, at_ms)
    if said.nano in ([line.nano for line in told[-1:]] or [now.nano if now else None]):
        return None
    if now is not None and now.origin in BY_HAND:
        return f"{said.field} of {said.name} is {_dollars(said)} by {said.source}; yours is kept ({_dollars(now)})"
    return replace(said, effective_from_ms=today_ms, stated_from_ms=0, correction=today_ms in dates)


def _without_date(line: BaselineLine) -> bool:
    return 0 in (line.effective_from_ms, line.stated_from_ms)


def _left(said: Said, why: str) -> str:
    day = date_of(day_number(said.effective_from_ms))
    return f"{said.field} of {said.name} is {_dollars(said)} from {day} on by {said.source}; {why}"


def _dollars(price: Said | BaselineLine) -> str:
    return "none" if price.nano is None else f"${nano_to_dollars(price.nano)}"


def _line(said: Said, at_ms: int) -> BaselineLine:
    """As it will be in the log, without its place there."""
    return BaselineLine(seq=0, added_at_ms=at_ms, digest="", **asdict(said))
