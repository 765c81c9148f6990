"""A scenario as sentences, and as the document that scripts read."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from gateway.cost.scenario import HOURS_A_MONTH, Case, Checked, Offer, Scenario
from registry.days import as_datetime
from registry.money import NANO
from registry.prices.baseline_infos import RETIRED, RETIRING

CENT = NANO // 100
SELF_HOSTED = "self-hosted"


def dollars(nano: Fraction | int) -> str:
    """To the cent, half up, as people write it: `$45,000`, `$0.75`; `under $0.01` for less than half of one."""
    if 0 < nano < CENT / 2:
        return "under $0.01"
    cents = _cents(nano)
    sign, cents = ("-" if cents < 0 else ""), abs(cents)
    return f"{sign}${cents // 100:,}" + (f".{cents % 100:02d}" if cents % 100 else "")


def usd(nano: Fraction | int) -> float:
    """To the cent, for scripts: 45000.0, 0.75."""
    return _cents(nano) / 100


def _cents(nano: Fraction | int) -> int:
    return int((Fraction(nano) / CENT + Fraction(1, 2)) // 1)


def document(found: Scenario) -> dict[str, Any]:
    """Dollars to the cent, as numbers: nothing is booked by a supposed case. What there is not is null."""
    return {
        "baselines": {
            name: {
                "monthly_usd": usd(offer.monthly_nano),
                "training_usd": None if offer.training_nano is None else usd(offer.training_nano),
                "status": offer.info.state,
            }
            for name, offer in found.offers.items()
        },
        "self_hosted": {"monthly_usd": usd(found.case.own_nano)},
        "break_even_requests": found.break_even_requests,
        "verdict": found.verdict,
    }


def verdict_said(found: Scenario) -> str:
    """The first sentence: what to do, and by how much."""
    case, rival = found.case, found.rival
    if rival is None:
        return "Self-host: none of these APIs can be asked any more."
    own, api, even = case.own_nano, rival.monthly_nano, rival.break_even_requests
    two = f"{rival.info.name} costs {dollars(api)} a month for {case.requests:,} requests"
    two = f"{two}, {_engines(case)} {dollars(own)}"
    if found.verdict == "stay on the API":
        less = "self-hosting never costs less" if even is None else f"self-hosting costs less from {even:,} a month on"
        return f"Stay on the API: {two}; {less}."
    if found.verdict == "self-host":
        return f"Self-host: {two}{_paid_for(case, rival)}."
    return f"Too close to call: {two}."


def retirement_said(found: Scenario) -> str | None:
    """What the verdict is worth when the cheapest API ends, where it is known to."""
    rival, lasting = found.rival, found.lasting
    if rival is None or rival.info.state != RETIRING or rival.info.ends_at_ms is None:
        return None
    said = f"It is to be retired on {as_datetime(rival.info.ends_at_ms):%Y-%m-%d}"
    if lasting is None:
        return f"{said}, as all of these are."
    even = lasting.break_even_requests
    then = "self-hosting never costs less" if even is None else f"self-hosting costs less from {even:,} a month on"
    return f"{said}; of those that stay, {lasting.info.name} costs {dollars(lasting.monthly_nano)} a month, and {then}."


def _engines(case: Case) -> str:
    return "one GPU" if case.engines_needed == 1 else f"{case.engines_needed} GPUs"


def _paid_for(case: Case, rival: Offer) -> str:
    """How soon the dearer training of one's own is paid for by months that are cheaper."""
    more, saved = case.own_training_nano - (rival.training_nano or 0), rival.monthly_nano - case.own_nano
    if more <= 0 or saved <= 0:
        return ""
    return f"; the dearer training is paid for in {float(more / saved):.1f} months"


def notes(found: Scenario) -> Iterator[str]:
    """What else must be known to read the figures."""
    for offer in found.offers.values():
        info = offer.info
        if info.state in (RETIRING, RETIRED):
            day = "" if info.ends_at_ms is None else f" on {as_datetime(info.ends_at_ms):%Y-%m-%d}"
            other = f"; its substitute is {info.substitute}" if info.substitute else ""
            yield f"{info.name} {'was' if info.state == RETIRED else 'is to be'} retired{day}{other}"
        yield from offer.assumed
    for name in found.unlisted:
        yield f"{name} is unlisted: it has no list price here, and is not compared"
    yield from map(_checked_said, found.checked)
    if found.case.requests_an_engine is None:
        yield f"{_engines(found.case)} must carry {_load(found.case)}; if that is more, say --requests-per-gpu"


def _checked_said(checked: Checked) -> str:
    said = f"{checked.claim.source} says {dollars(checked.claim.nano_per_month)} for {checked.name}"
    listed = f"its list price comes to {dollars(checked.listed_nano)}"
    if checked.name in checked.fits:
        return f"{said}, and {listed}"
    fits = f"the list price of {', '.join(checked.fits)}" if checked.fits else "no list price"
    return f"{said}, which fits {fits}: {listed}"


def _load(case: Case) -> str:
    seconds = HOURS_A_MONTH * 3600
    written = case.requests * case.output_tokens / seconds
    return f"{case.requests / seconds:,.2f} requests a second on average, {written:,.0f} written tokens"


def percents(found: Scenario, dearest: str = "gpt-4") -> Iterator[tuple[str, str, str | None]]:
    """What each other API and the engines save against one: at its list price, and against the figure that somebody
    names for it, which the guide's percentages are of (`None`: there is none).
    """
    listed = found.offers.get(dearest)
    if listed is None:
        return
    named = next((one.claim.nano_per_month for one in found.checked if one.name == dearest), None)
    months = [(name, offer.monthly_nano) for name, offer in found.offers.items() if offer is not listed]
    for name, nano in [*months, (SELF_HOSTED, Fraction(found.case.own_nano))]:
        yield name, percent(nano, listed.monthly_nano), None if named is None else percent(nano, named)


def percent(nano: Fraction | int, of: Fraction | int) -> str:
    """How much less the one is than the other: `97%`; negative when it is more."""
    return f"{float((1 - Fraction(nano) / Fraction(of)) * 100):.1f}".removesuffix(".0") + "%"
