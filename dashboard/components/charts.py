"""Charts as HTML and SVG, drawn here.

The plot is an SVG of 1000 × 100 that is stretched to its place, with strokes that are not; all text is HTML around it,
so that it has the page's type at every width. No style attributes: the security policy allows none. Colour is never
alone: the second series is dashed, the third dotted, and each has its name and a table of its figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from dashboard.components import figures
from dashboard.components.figures import Form
from dashboard.components.marks import HEIGHT, WIDTH, Level, Moment, drawn_level, drawn_moments, key_of, keys_of_marks
from dashboard.components.scales import Axis, axis_of, clock

X_LABELS = 5
MOST_ROWS = 200
"""Of the table below a chart: the newest ones."""
Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Series:
    """A line, or a layer. `low` and `high` are the ends of its band, if it has one."""

    name: str
    values: Values
    low: Values | None = None
    high: Values | None = None


@dataclass(frozen=True, slots=True)
class Across:
    """What a chart goes over from left to right."""

    head: str
    """Of the table of figures."""
    tick: Callable[[float, float], str]
    """The text at a place of an axis that is so long."""
    told: Callable[[float], str]
    """The place in full."""


TIME = Across("Time", clock, figures.utc)
STEPS = Across("Step", lambda at, _: f"{at:,.0f}", lambda at: f"step {at:,.0f}")


def line(
    label: str,
    at_ms: Sequence[float],
    series: Sequence[Series],
    form: Form = figures.plain,
    *,
    levels: Sequence[Level] = (),
    moments: Sequence[Moment] = (),
    from_zero: bool = True,
    across: Across = TIME,
) -> Markup:
    """Lines over time, each with its band; `None` is a gap. `label` says what is shown, for who does not see it.

    Over something else than time, `at_ms` are places of that: steps of a training, say.
    """
    if len(at_ms) < 2:
        return nothing("Not enough points in time yet.")
    shown = [value for one in series for part in (one.values, one.low or (), one.high or ()) for value in part]
    axis = axis_of([*shown, *(level.value for level in levels)], from_zero=from_zero)
    xs = _across(at_ms)
    parts = [_grid(axis)]
    parts += [_band(number, xs, one.low, one.high, axis) for number, one in enumerate(series) if one.low and one.high]
    parts += [_drawn(number, xs, one.values, axis) for number, one in enumerate(series)]
    parts += [drawn_level(level, axis) for level in levels]
    parts += drawn_moments(moments, at_ms[0], at_ms[-1])
    legend = _legend([*_keys(series), *keys_of_marks(levels, moments, form)])
    return _figure(label, _plot(parts, xs, at_ms, series, form, across), axis, at_ms, series, form, legend, across)


def area(label: str, at_ms: Sequence[float], series: Sequence[Series], form: Form = figures.plain) -> Markup:
    """Layers over time, one upon the other; `None` counts as 0."""
    if len(at_ms) < 2:
        return nothing("Not enough points in time yet.")
    xs, base = _across(at_ms), [0.0] * len(at_ms)
    layers: list[tuple[list[float], list[float]]] = []
    for one in series:
        top = [below + (value or 0.0) for below, value in zip(base, one.values, strict=True)]
        layers.append((base, top))
        base = top
    axis = axis_of(base)
    parts = [_grid(axis)]
    for number, (low, high) in enumerate(layers):
        parts.append(_band(number, xs, low, high, axis, kind="layer"))
        parts.append(_drawn(number, xs, high, axis))
    legend = _legend(_keys(series))
    return _figure(label, _plot(parts, xs, at_ms, series, form), axis, at_ms, series, form, legend)


def columns(
    label: str,
    at_ms: Sequence[float],
    series: Sequence[Series],
    form: Form = figures.plain,
    *,
    moments: Sequence[Moment] = (),
) -> Markup:
    """Columns of equal width, by time, series upon series; for what is counted in each second or day.

    A column is as wide as its time, which begins at its `at_ms`; a moment lies within its own.
    """
    if not at_ms:
        return nothing("Nothing in this time.")
    totals = [sum(one.values[number] or 0.0 for one in series) for number in range(len(at_ms))]
    axis, step = axis_of(totals), WIDTH / len(at_ms)
    parts = [_grid(axis)]
    for place in range(len(at_ms)):
        below = 0.0
        for number, one in enumerate(series):
            value = one.values[place] or 0.0
            bottom, top = axis.place(below, HEIGHT), axis.place(below + value, HEIGHT)
            parts.append(
                Markup('<rect class="fill s{}" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>').format(
                    _colour(number), place * step + step * 0.12, HEIGHT - top, step * 0.76, max(top - bottom, 0.0)
                )
            )
            below += value
    if len(at_ms) > 1:
        parts += drawn_moments(moments, at_ms[0], 2 * at_ms[-1] - at_ms[-2])
    middles = [(number + 0.5) * step for number in range(len(at_ms))]
    legend = _legend([*_keys(series, filled=True), *keys_of_marks((), moments, form)])
    return _figure(label, _plot(parts, middles, at_ms, series, form), axis, at_ms, series, form, legend)


@dataclass(frozen=True, slots=True)
class Bar:
    """One thing of a comparison. `low` and `high` are the ends of its interval, if it has one."""

    name: str
    value: float | None
    href: str = ""
    low: float | None = None
    high: float | None = None
    note: str = ""


def bars(label: str, rows: Sequence[Bar], form: Form = figures.plain) -> Markup:
    """Bars side by side from zero, to the left where they are negative, with name and figure."""
    if not rows:
        return nothing("Nothing to compare.")
    axis = axis_of([value for row in rows for value in (row.value, row.low, row.high)])
    zero = axis.place(0.0, WIDTH)
    return Markup('<div class="bars" role="list" aria-label="{}">{}</div>').format(
        label, Markup("").join(_bar(row, axis, zero, form) for row in rows)
    )


def _bar(row: Bar, axis: Axis, zero: float, form: Form) -> Markup:
    name = Markup('<a href="{}">{}</a>').format(row.href, row.name) if row.href else Markup("{}").format(row.name)
    drawn = Markup("")
    if row.value is not None:
        end = axis.place(row.value, WIDTH)
        kind = "s5" if row.value < 0 else "s0"
        drawn = Markup('<rect class="fill {}" x="{:.1f}" y="20" width="{:.1f}" height="60" />').format(
            kind, min(zero, end), abs(end - zero)
        )
    if row.low is not None and row.high is not None:
        drawn += Markup('<path class="interval" d="M{:.1f},50H{:.1f}M{:.1f},30V70M{:.1f},30V70"/>').format(
            *(axis.place(end, WIDTH) for end in (row.low, row.high, row.low, row.high))
        )
    note = Markup(' <span class="muted">{}</span>').format(row.note) if row.note else ""
    return Markup(
        '<div class="bar" role="listitem"><span class="bar-name">{}</span>'
        '<svg class="bar-plot" viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">'
        '<path class="zero" d="M{:.1f},0V100"/>{}</svg><span class="bar-value">{}{}</span></div>'
    ).format(name, zero, drawn, form(row.value), note)


def spark(label: str, values: Values) -> Markup:
    """A line without axes, beside a figure."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return Markup('<span class="spark" aria-hidden="true"></span>')
    axis = Axis(min(0.0, *known), max(*known, 1e-12), ())
    xs = [number * WIDTH / (len(values) - 1) for number in range(len(values))]
    return Markup(
        '<svg class="spark" viewBox="0 -4 1000 108" preserveAspectRatio="none" role="img" aria-label="{}">{}{}</svg>'
    ).format(label, _band(0, xs, [axis.low] * len(values), values, axis, kind="layer"), _drawn(0, xs, values, axis))


def gauge(label: str, share: float | None, said: str, *, mark: float | None = None, kind: str = "") -> Markup:
    """A part of a whole, 0 to 1, as a bar; `said` is the figure. `mark` is where it is to be, or to be less than.

    `kind` is good, warn or bad, and takes the place of the accent.
    """
    part = 0.0 if share is None else min(max(share, 0.0), 1.0)
    at = (
        ""
        if mark is None
        else Markup('<path class="mark" d="M{0:.1f},0V100"/>').format(min(max(mark, 0.0), 1.0) * WIDTH)
    )
    return Markup(
        '<div class="gauge {}" role="meter" aria-label="{}" aria-valuemin="0" aria-valuemax="100" '
        'aria-valuenow="{:.0f}" aria-valuetext="{}">'
        '<svg viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="fill" width="{:.1f}" height="100"/>{}</svg><span>{}</span></div>'
    ).format(kind, label, part * 100, said, part * WIDTH, at, said.replace(" %", "\N{NO-BREAK SPACE}%"))


def nothing(text: str) -> Markup:
    """In the place of a chart that has nothing to show."""
    return Markup('<p class="chart-empty">{}</p>').format(text)


def _colour(number: int) -> int:
    return number % 8


def _across(at_ms: Sequence[float]) -> list[float]:
    first, span = at_ms[0], (at_ms[-1] - at_ms[0]) or 1.0
    return [(at - first) / span * WIDTH for at in at_ms]


def _drawn(number: int, xs: Sequence[float], values: Values, axis: Axis) -> Markup:
    """A line with a gap where nothing is known, and a dot for each point that stands alone between two gaps."""
    pieces: list[list[str]] = [[]]
    for x, value in zip(xs, values, strict=True):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append(f"{x:.1f},{HEIGHT - axis.place(value, HEIGHT):.2f}")
    lines = "".join(f"M{'L'.join(piece)}" for piece in pieces if len(piece) > 1)
    dots = "".join(f"M{piece[0]}h.01" for piece in pieces if len(piece) == 1)
    drawn = Markup('<path class="stroke s{} d{}" d="{}"/>').format(_colour(number), number % 4, lines)
    return drawn + Markup('<path class="stroke dots s{}" d="{}"/>').format(_colour(number), dots) if dots else drawn


def _band(
    number: int, xs: Sequence[float], low: Values | None, high: Values | None, axis: Axis, kind: str = "band"
) -> Markup:
    """What lies between two lines, in pieces where one of them has gaps."""
    pieces: list[list[tuple[float, float, float]]] = [[]]
    for x, one, other in zip(xs, low or (), high or (), strict=True):
        if one is None or other is None:
            pieces.append([])
        else:
            pieces[-1].append((x, HEIGHT - axis.place(one, HEIGHT), HEIGHT - axis.place(other, HEIGHT)))
    commands = []
    for piece in pieces:
        if len(piece) > 1:
            there = "L".join(f"{x:.1f},{top:.2f}" for x, _, top in piece)
            back = "L".join(f"{x:.1f},{bottom:.2f}" for x, bottom, _ in reversed(piece))
            commands.append(f"M{there}L{back}Z")
    return Markup('<path class="{} s{}" d="{}"/>').format(kind, _colour(number), "".join(commands))


def _grid(axis: Axis) -> Markup:
    places = [HEIGHT - axis.place(tick, HEIGHT) for tick in axis.ticks]
    zero = HEIGHT - axis.place(0.0, HEIGHT) if axis.low <= 0.0 <= axis.high else HEIGHT
    return Markup('<path class="grid" d="{}"/><path class="zero" d="M0,{:.2f}H1000"/>').format(
        "".join(f"M0,{place:.2f}H1000" for place in places), zero
    )


def _plot(
    parts: Sequence[Markup],
    xs: Sequence[float],
    at_ms: Sequence[float],
    series: Sequence[Series],
    form: Form,
    across: Across = TIME,
) -> Markup:
    """The drawing, and above it a strip for each moment that tells its figures."""
    edges = [0.0, *((one + other) / 2 for one, other in pairwise(xs)), WIDTH]
    strips = Markup("").join(
        Markup('<rect class="strip" x="{:.2f}" y="0" width="{:.2f}" height="100"><title>{}</title></rect>').format(
            edges[number], max(edges[number + 1] - edges[number], 0.01), _told(number, across.told(at), series, form)
        )
        for number, at in enumerate(at_ms)
    )
    return Markup('<svg viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">{}{}</svg>').format(
        Markup("").join(parts), strips
    )


def _told(number: int, place: str, series: Sequence[Series], form: Form) -> str:
    lines = [place]
    for one in series:
        text = f"{one.name}: {form(one.values[number])}"
        if one.low and one.high:
            text += f" [{form(one.low[number])}, {form(one.high[number])}]"
        lines.append(text)
    return "\n".join(lines)


def _figure(
    label: str,
    plot: Markup,
    axis: Axis,
    at_ms: Sequence[float],
    series: Sequence[Series],
    form: Form,
    legend: Markup,
    across: Across = TIME,
) -> Markup:
    span = at_ms[-1] - at_ms[0]
    labels = min(X_LABELS, len(at_ms))
    places = [at_ms[0] + span * number / max(labels - 1, 1) for number in range(labels)]
    return Markup(
        '<figure class="chart"><figcaption class="visually-hidden">{}</figcaption>{}'
        '<div class="plot"><div class="y-axis" aria-hidden="true">{}</div>{}'
        '<div class="x-axis" aria-hidden="true">{}</div></div>{}</figure>'
    ).format(
        label,
        legend,
        Markup("").join(Markup("<span>{}</span>").format(form(tick)) for tick in reversed(axis.ticks)),
        plot,
        Markup("").join(Markup("<span>{}</span>").format(across.tick(place, span)) for place in places),
        _table(label, at_ms, series, form, across),
    )


def _keys(series: Sequence[Series], *, filled: bool = False) -> list[Markup]:
    if filled:
        mark = Markup('<rect class="fill s{0}" width="20" height="10"/>')
    else:
        mark = Markup('<path class="stroke s{0} d{1}" d="M0,5H20"/>')
    return [key_of(mark.format(_colour(number), number % 4), one.name) for number, one in enumerate(series)]


def _legend(keys: Sequence[Markup]) -> Markup:
    """Nothing for a single line, whose name is the card's."""
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(keys)) if len(keys) > 1 else Markup("")


def _table(label: str, at_ms: Sequence[float], series: Sequence[Series], form: Form, across: Across) -> Markup:
    """The same figures for who does not see, or wants to read them."""
    newest = range(len(at_ms) - 1, max(-1, len(at_ms) - 1 - MOST_ROWS), -1)
    head = Markup("").join(Markup('<th scope="col" class="num">{}</th>').format(one.name) for one in series)
    rows = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            across.told(at_ms[number]),
            Markup("").join(Markup('<td class="num">{}</td>').format(form(one.values[number])) for one in series),
        )
        for number in newest
    )
    return Markup(
        '<details class="figures"><summary>Figures</summary><div class="scroll"><table>'
        '<caption class="visually-hidden">{}</caption><thead><tr><th scope="col">{}</th>{}</tr></thead>'
        "<tbody>{}</tbody></table></div></details>"
    ).format(label, across.head, head, rows)
