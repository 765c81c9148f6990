"""What an engine costs an hour, worked out from the terms it is had on. Pure; decimal numbers in text.

A month has 730 hours (8,760 / 12), as cloud price lists count, and a year 8,760.

    on_demand, spot, reserved   hourly · gpus
    reserved, by the month      monthly · gpus / 730
    reserved, paid in advance   … + upfront / (term_months · 730)
    owned                       (purchase - resale) / (years · 8,760)         amortisation, straight
                                + watts / 1,000 · pue · kwh                   power
                                + hosting / 730                               rack, network, people; by the month
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation, localcontext
from typing import Literal, get_args

from registry.errors import InvalidInput
from registry.money import MAX_NANO, NANO

Kind = Literal["on_demand", "reserved", "owned", "spot", "ended"]
ENDED: Kind = "ended"
"""Nothing more from then on."""
WHILE_THERE: tuple[Kind, ...] = ("on_demand", "spot")
"""Cost while an engine is there; the others cost every hour until they are ended."""
HOURS_PER_MONTH = Decimal(730)
HOURS_PER_YEAR = Decimal(8_760)
DIGITS = 50

NEEDED: Mapping[str, tuple[str, ...]] = {
    "on_demand": ("hourly",),
    "spot": ("hourly",),
    "reserved": (),
    "owned": ("purchase", "years"),
    "ended": (),
}
ALLOWED: Mapping[str, tuple[str, ...]] = {
    "on_demand": ("hourly", "gpus"),
    "spot": ("hourly", "gpus"),
    "reserved": ("hourly", "monthly", "gpus", "upfront", "term_months"),
    "owned": ("purchase", "years", "resale", "watts", "pue", "kwh", "hosting"),
    "ended": (),
}
FORMULAS: Mapping[str, str] = {
    "on_demand": "hourly · gpus",
    "spot": "hourly · gpus",
    "reserved": "(hourly or monthly / 730) · gpus + upfront / (term_months · 730)",
    "owned": "(purchase - resale) / (years · 8760) + watts / 1000 · pue · kwh + hosting / 730",
    "ended": "nothing",
}


def hourly_nano(kind: str, terms: Mapping[str, str]) -> int:
    """Nano-dollars an hour, rounded once, half to even. Raises `InvalidInput`, which names the term."""
    found = _checked(kind, terms)
    gpus = found.get("gpus", Decimal(1))
    with localcontext(prec=DIGITS):
        match kind:
            case "on_demand" | "spot":
                dollars = found["hourly"] * gpus
            case "reserved":
                hourly = found["hourly"] if "hourly" in found else found.get("monthly", Decimal(0)) / HOURS_PER_MONTH
                dollars = hourly * gpus
                if "upfront" in found:
                    dollars += found["upfront"] / (found["term_months"] * HOURS_PER_MONTH)
            case "owned":
                amortisation = (found["purchase"] - found.get("resale", Decimal(0))) / (found["years"] * HOURS_PER_YEAR)
                power = (
                    found.get("watts", Decimal(0)) / 1_000 * found.get("pue", Decimal(1)) * found.get("kwh", Decimal(0))
                )
                dollars = amortisation + power + found.get("hosting", Decimal(0)) / HOURS_PER_MONTH
            case _:
                dollars = Decimal(0)
        nano = (dollars * NANO).to_integral_value(ROUND_HALF_EVEN)
    if not 0 <= nano <= MAX_NANO:
        raise InvalidInput(f"the terms come to {dollars:f} dollars an hour; expected 0 to 9 billion", param="terms")
    return int(nano)


def _checked(kind: str, terms: Mapping[str, str]) -> dict[str, Decimal]:
    if kind not in get_args(Kind):
        raise InvalidInput(f"kind is {kind[:40]!r}; choose one of {', '.join(NEEDED)}", param="kind")
    for name in terms:
        if name not in ALLOWED[kind]:
            allowed = ", ".join(ALLOWED[kind]) or "no terms"
            raise InvalidInput(f"{name} is no term of a cost of kind {kind}, which has {allowed}", param=name)
    for name in NEEDED[kind]:
        if name not in terms:
            raise InvalidInput(f"{name} is missing; a cost of kind {kind} is {FORMULAS[kind]}", param=name)
    found = {name: _number(name, text) for name, text in terms.items()}
    if kind == "reserved" and ("hourly" in found) + ("monthly" in found) != 1:
        raise InvalidInput("hourly or monthly is needed, one of them", param="hourly")
    if ("upfront" in found) != ("term_months" in found):
        missing = "term_months" if "upfront" in found else "upfront"
        raise InvalidInput(f"{missing} is missing; upfront and term_months go together", param=missing)
    return found


def _number(name: str, text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    positive = name in ("gpus", "years", "term_months", "pue")
    if not number.is_finite() or number < 0 or (positive and number == 0) or number > 10**12:
        expected = "a number above 0" if positive else "a number, not negative"
        raise InvalidInput(f"{name} is {text[:40]!r}; expected {expected}, such as 2.74", param=name)
    if name == "gpus" and number != number.to_integral_value():
        raise InvalidInput(f"gpus is {text[:40]!r}; expected a whole number", param=name)
    return number
