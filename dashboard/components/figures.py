"""Numbers as people read them, each with its unit; `None` is `–`. Filters of templates by the same names."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

from markupsafe import Markup, escape

UNKNOWN = "–"
Form = Callable[[float | None], str]
"""How a chart or a table writes a number; one of the functions below."""
STEPS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
NANO = 10**9


def plain(value: float | None) -> str:
    """12, 3.5, 0.042, 12,400."""
    if value is None:
        return UNKNOWN
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.3g}"


def count(value: float | None) -> str:
    """A number of things: 12, 4,321, 1.2 M."""
    if value is None:
        return UNKNOWN
    if abs(value) < 100_000:
        return plain(value)
    rounded = float(f"{value:.3g}")
    scale, unit = next(one for one in SCALES if abs(rounded) >= one[0])
    return f"{_three_digits(rounded / scale)} {unit}"


def per_s(value: float | None) -> str:
    """How often: 4.2/s."""
    return UNKNOWN if value is None else f"{plain(round(value, 3))}/s"


def tokens(value: float | None) -> str:
    """A number of tokens."""
    return UNKNOWN if value is None else f"{count(value)} tok"


def percent(share: float | None) -> str:
    """A share of 0 to 1: 12.5 %."""
    if share is None:
        return UNKNOWN
    value = share * 100
    if value == 0:
        return "0 %"
    return f"{value:.0f} %" if abs(value) >= 99.95 or value == round(value) else f"{value:.3g} %"


def seconds(value: float | None) -> str:
    """A duration: 850 µs, 12 ms, 3.4 s, 5 min 20 s, 2 h 5 min, 3 d 4 h."""
    if value is None:
        return UNKNOWN
    size = abs(value)
    if size == 0:
        return "0 s"
    if size < 0.001:
        return f"{value * 1e6:.0f} µs"
    if size < 0.9995:
        return f"{_three_digits(value * 1e3)} ms"
    if size < 60:
        return f"{value:.3g} s"
    whole = round(size)
    for (step, unit), (less, lesser) in pairwise(STEPS):
        if whole >= step:
            rest = whole % step // less
            sign = "−" if value < 0 else ""
            return f"{sign}{whole // step} {unit}" + (f" {rest} {lesser}" if rest else "")
    return f"{value:.3g} s"


def ms(value: float | None) -> str:
    """A duration in milliseconds, in the unit that reads best."""
    return seconds(None if value is None else value / 1000)


def size(value: float | None) -> str:
    """Bytes: 12 B, 3.4 MB, in steps of 1,000 as commands tell them."""
    if value is None:
        return UNKNOWN
    rounded = float(f"{value:.3g}")
    for scale, unit in BYTES:
        if abs(rounded) >= scale:
            return f"{_three_digits(rounded / scale)} {unit}"
    return f"{plain(value)} B"


def dollars(value: float | Decimal | str | None) -> str:
    """US dollars: $12.30, −$0.0042, $0.000032, $12,340; a string is a decimal number as the API writes it."""
    if value is None:
        return UNKNOWN
    exact = Decimal(str(value))
    sign, whole = ("−" if exact < 0 else ""), abs(exact)
    if whole == 0:
        return "$0.00"
    if whole >= 10_000:
        return f"{sign}${whole:,.0f}"
    if whole >= Decimal("0.01"):
        return f"{sign}${whole:,.2f}"
    return f"{sign}${Decimal(f'{whole:.1e}').normalize():f}"  # two digits that say something, however small


def nano_dollars(value: float | None) -> str:
    """The same, of whole nano-dollars."""
    return UNKNOWN if value is None else dollars(Decimal(int(value)) / NANO)


def utc(at_ms: float | None) -> str:
    """2026-11-29 14:02:10 UTC."""
    return UNKNOWN if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def ago(at_ms: float | None, now_ms: float | None = None) -> str:
    """3 min ago, in 2 h."""
    if at_ms is None:
        return UNKNOWN
    apart_s = ((time.time() * 1000 if now_ms is None else now_ms) - at_ms) / 1000
    if abs(apart_s) < 1:
        return "now"
    whole = next(f"{int(abs(apart_s) // step)} {unit}" for step, unit in STEPS if abs(apart_s) >= step)
    return f"{whole} ago" if apart_s > 0 else f"in {whole}"


def when(at_ms: float | None, now_ms: float | None = None) -> Markup:
    """Both, as a `<time>`: the moment, and how long ago that is."""
    if at_ms is None:
        return escape(UNKNOWN)
    iso = f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return Markup('<time datetime="{}"><span class="ago">{}</span> <span class="at">{}</span></time>').format(
        iso, ago(at_ms, now_ms), utc(at_ms).replace(" UTC", "\N{NO-BREAK SPACE}UTC")
    )


def _three_digits(value: float) -> str:
    """The first three digits that say something, and never a power of ten."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:.3g}"


FILTERS: dict[str, Callable[..., str]] = {
    one.__name__: one
    for one in (plain, count, per_s, tokens, percent, seconds, ms, size, dollars, nano_dollars, utc, ago, when)
}
