"""What may be added to the log of baselines. Every function is for a session in which the log is locked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.days import date_of, day_number, day_of
from registry.errors import Conflict, InvalidInput, NotFound
from registry.money import dollars_to_nano, nano_to_dollars
from registry.prices.baseline_infos import CLAIM, COMPONENTS, LIVE, RETIRED, RETIRING, STATUS, TEXTS, Origin
from registry.prices.price_log import PRICE_LOG, Said
from registry.prices.rows import BaselineLine
from registry.prices.timeline import by_date, fills_a_gap

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}")
MOST_TEXT = 500
"""Characters of a source, a note or a fact."""


@dataclass(frozen=True, slots=True)
class News:
    """Prices by component, in decimal dollars per million tokens, of one baseline from one date on."""

    name: str
    dollars: Mapping[str, str | None]
    source: str
    effective_from_ms: int | None = None
    """`None`: today."""
    retrieved_at_ms: int | None = None
    """`None`: today."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is to be said of a baseline; `None` says nothing, and an empty text that it is not known any more."""

    status: str | None = None
    """`live`, `retiring` or `retired`."""
    ends_at_ms: int | None = None
    """Of the last two: when it ends, or has ended."""
    substitute: str | None = None
    tokenizer: str | None = None
    provider: str | None = None
    claim: tuple[str, str] | None = None
    """Decimal dollars a month that somebody names, and the workload that they are said of."""


def add_prices(session: Session, news: News, at_ms: int) -> None:
    """Append prices that change nothing which had a price before today. Raises `InvalidInput` or `Conflict`."""
    for said in _prices(news, at_ms, correction=False):
        dates = by_date(_lines_of(session, said.name)).get(said.field, {})
        there = dates.get(said.effective_from_ms)
        day = date_of(day_number(said.effective_from_ms))
        if there is not None:
            raise Conflict(
                f"{said.field} of {said.name} has a price from {day} on ({_dollars(there.nano)}); "
                "prices are not edited: `switchyard cost baselines correct` says what it was instead",
                param="effective_from",
            )
        if not fills_a_gap(dates, said.effective_from_ms, at_ms):
            raise Conflict(
                f"{said.field} of {said.name} had a price on {day}, and reports were made with it; add one from "
                "today on, or say with `switchyard cost baselines correct` that it was wrong",
                param="effective_from",
            )
        PRICE_LOG.append(session, said, at_ms)


def correct(session: Session, news: News, at_ms: int) -> None:
    """Append prices that take the place of those of the same days. Raises `InvalidInput` or `NotFound`."""
    if not _lines_of(session, news.name):
        raise NotFound(f"baseline is {news.name[:80]!r}, and there is no price of it to correct", param="baseline")
    for said in _prices(news, at_ms, correction=True):
        PRICE_LOG.append(session, said, at_ms)


def say(session: Session, name: str, facts: Facts, origin: tuple[str, int | None, str], at_ms: int) -> None:
    """Append facts, with their source, when it was read (default: today) and a note. Raises `InvalidInput`."""
    source, retrieved_at_ms, note = origin
    today_ms, _ = day_of(at_ms)
    checked = News(name, {}, source, today_ms, retrieved_at_ms, note)
    told = facts_said(checked, facts, "operator", today_ms)
    if not told:
        raise InvalidInput("nothing is said: give a status, substitute, tokenizer, provider or claim", param="status")
    for said in told:
        PRICE_LOG.append(session, said, at_ms)


def facts_said(news: News, facts: Facts, origin: Origin, today_ms: int) -> list[Said]:
    """Facts as lines; dates and sources are those of `news`, whose prices are not read. Raises `InvalidInput`."""
    _check_status(facts, today_ms)
    fields: list[tuple[str, int, int | None, str | None]] = []
    if facts.status is not None:
        text = LIVE if facts.status == LIVE else RETIRED
        fields.append((STATUS, today_ms if facts.ends_at_ms is None else facts.ends_at_ms, None, text))
    for field in TEXTS:
        if (told := getattr(facts, field)) is not None:
            fields.append((field, today_ms, None, _text(told, field)))
    if facts.claim is not None:
        dollars, workload = facts.claim
        fields.append((CLAIM, today_ms, dollars_to_nano(dollars, "claim"), _text(workload, "workload", needed=True)))
    return [
        Said(
            _name(news.name), field, from_ms, _text(news.source, "source", needed=True), origin, nano, text,
            today_ms if news.retrieved_at_ms is None else news.retrieved_at_ms, note=_text(news.note, "note"),
        )
        for field, from_ms, nano, text in fields
    ]  # fmt: skip


def _check_status(facts: Facts, today_ms: int) -> None:
    if facts.status not in (None, LIVE, RETIRING, RETIRED):
        raise InvalidInput(
            f"status is {facts.status[:40]!r}; choose from {LIVE}, {RETIRING}, {RETIRED}", param="status"
        )
    if (facts.status in (RETIRING, RETIRED)) != (facts.ends_at_ms is not None):
        raise InvalidInput(
            "ends_on is the day that goes with retiring and retired, and with nothing else", param="ends_on"
        )
    if facts.ends_at_ms is not None and (facts.ends_at_ms > today_ms) != (facts.status == RETIRING):
        day, right = date_of(day_number(facts.ends_at_ms)), RETIRED if facts.status == RETIRING else RETIRING
        raise InvalidInput(f"ends_on is {day}; what ends on that day is {right}", param="ends_on")


def _prices(news: News, at_ms: int, *, correction: bool) -> list[Said]:
    today_ms, _ = day_of(at_ms)
    if not news.dollars:
        raise InvalidInput(f"no price is given; give one of {', '.join(COMPONENTS)}", param="input")
    for component in news.dollars:
        if component not in COMPONENTS:
            raise InvalidInput(
                f"component is {component[:40]!r}; choose from {', '.join(COMPONENTS)}", param="component"
            )
    return [
        Said(
            _name(news.name),
            component,
            today_ms if news.effective_from_ms is None else news.effective_from_ms,
            _text(news.source, "source", needed=True),
            "operator",
            None if dollars is None else dollars_to_nano(dollars, component),
            retrieved_at_ms=today_ms if news.retrieved_at_ms is None else news.retrieved_at_ms,
            correction=correction,
            note=_text(news.note, "note"),
        )
        for component, dollars in news.dollars.items()
    ]


def _lines_of(session: Session, name: str) -> Sequence[BaselineLine]:
    return session.scalars(select(BaselineLine).where(BaselineLine.name == name).order_by(BaselineLine.seq)).all()


def _name(name: str) -> str:
    if NAME.fullmatch(name):
        return name
    raise InvalidInput(
        f"baseline is {name[:80]!r}; a name has up to 200 letters, digits and ._:/@+-, and begins with a letter or "
        "digit",
        param="baseline",
    )


def _text(text: str, param: str, *, needed: bool = False) -> str:
    if needed and not text.strip():
        raise InvalidInput(
            f"{param} is empty; say where the figure is from" if param == "source" else f"{param} is empty", param=param
        )
    if len(text) > MOST_TEXT or not text.isprintable():
        raise InvalidInput(
            f"{param} has {len(text)} characters; up to {MOST_TEXT} that can be printed, in one line", param=param
        )
    return text.strip()


def _dollars(nano: int | None) -> str:
    return "none" if nano is None else f"${nano_to_dollars(nano)}"
