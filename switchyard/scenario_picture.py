"""A scenario as a picture, PNG or SVG: cost a month against requests a month; lines cross at their break-even."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from registry.errors import InvalidInput
from registry.money import NANO

if TYPE_CHECKING:
    from gateway.cost.scenario import Scenario

INCHES = (8.0, 4.5)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
"""Okabe and Ito's, which people with any colour blindness can tell apart."""
DASHES = ("solid", "dashed", "dashdot", "dotted")
STEPS = 400
LABEL = 0.07
"""Of the picture's width, that a break-even's number takes: where there is less room, it has none."""
MOST_BREAK_EVENS = 1.5
"""The picture ends so far behind the last break-even that it has."""


def picture(found: Scenario, form: str) -> bytes:
    """The bytes of the file. Raises `InvalidInput` without an API to compare with, or without matplotlib."""
    if not found.offers:
        raise InvalidInput("plot has nothing to draw: none of these baselines has a price", param="plot")
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise InvalidInput(
            "plot needs matplotlib, which is not installed: pip install 'switchyard[train]'", param="plot"
        ) from None
    with mpl.rc_context({"svg.hashsalt": "switchyard", "svg.fonttype": "none", "text.parse_math": False}):
        figure = Figure(figsize=INCHES, layout="constrained")
        _draw(figure.add_subplot(), found)
        drawn = io.BytesIO()
        figure.savefig(drawn, format=form, metadata={"Date": None} if form == "svg" else None)
    return drawn.getvalue()


def _draw(axes: Any, found: Scenario) -> None:
    case = found.case
    own = float(case.engine_nano * case.engines / NANO)
    evens = [one.break_even_requests for one in found.offers.values() if one.break_even_requests is not None]
    end = max(
        case.requests * 1.2, MOST_BREAK_EVENS * max((even for even in evens if even <= 20 * case.requests), default=0)
    )
    axes.step(*_own_steps(found, end), where="post", color="black", linewidth=2, label="self-hosted")
    labelled = -end
    offers = sorted(found.offers.values(), key=lambda one: -one.monthly_nano)
    for number, offer in enumerate(offers):
        each = float(offer.request_nano / NANO)
        color, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        axes.plot([0, end], [0, end * each], color=color, linestyle=dash, label=offer.info.name)
        even = offer.break_even_requests
        if even is not None and even <= end:
            axes.plot([even], [even * each], "o", color=color, markersize=6)
            if even - labelled > LABEL * end:
                labelled = even
                axes.annotate(_short(even), (even, even * each), (4, -12), textcoords="offset points", fontsize=8)
    axes.axvline(case.requests, color="#999999", linewidth=0.8, linestyle="dashed")
    axes.set(
        title=f"A month of requests of {case.input_tokens:,} + {case.output_tokens:,} tokens",
        xlabel="requests a month; a point is a break-even, the dashed line this scenario",
        ylabel="dollars a month",
        xlim=(0, end),
        ylim=(0, 2.5 * max(own, float(found.rival.monthly_nano / NANO) if found.rival else own)),
    )
    axes.xaxis.set_major_formatter(lambda value, _: _short(value))
    axes.yaxis.set_major_formatter(lambda value, _: f"${value:,.0f}")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _own_steps(found: Scenario, end: float) -> tuple[list[float], list[float]]:
    """Requests, and what as many engines as they need cost."""
    case = found.case
    price, most = case.engine_nano / NANO, case.requests_an_engine
    if most is None:
        return [0, end], [price * case.engines] * 2
    first = case.engines * most
    more = range(min(STEPS, max(0, -(-round(end) // most) - case.engines)))
    xs = [0.0, *(float(first + most * step) for step in more), end]
    ys = [price * case.engines, *(price * (case.engines + step + 1) for step in more)]
    return xs, [*ys, ys[-1]]


def _short(number: float) -> str:
    """`2.67M`, `320k`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"
