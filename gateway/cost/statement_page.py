"""A statement as one page of HTML that prints well: no script, and nothing that is fetched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from gateway.cost.intervals import less
from gateway.cost.report import CostLine
from gateway.cost.report_words import said, with_ends
from gateway.cost.statement import Statement, statement_sentences
from registry.days import as_datetime
from registry.money import nano_to_dollars

CHART_WIDTH, CHART_HEIGHT = 680, 90
"""Of the bars of days, in pixels."""
STYLE = """
@page { size: A4; margin: 18mm 16mm 20mm; @bottom-right { content: counter(page) " / " counter(pages); } }
* { box-sizing: border-box; }
body { font: 10.5pt/1.45 system-ui, "Helvetica Neue", Arial, sans-serif; color: #1a1a1a; max-width: 760px;
  margin: 2em auto; padding: 0 1em; }
h1 { font-size: 19pt; margin: 0 0 .1em; } h2 { font-size: 12pt; margin: 1.8em 0 .4em; break-after: avoid; }
.sub { color: #555; margin: 0 0 1.4em; }
.sum { border: 1px solid #bbb; border-radius: 4px; padding: .8em 1em; display: flex; gap: 2.5em; flex-wrap: wrap; }
.sum div { font-size: 9pt; color: #555; } .sum b { display: block; font-size: 16pt; color: #1a1a1a; font-weight: 600; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; font-size: 9pt; border-bottom: 1.5px solid #1a1a1a; }
td { border-bottom: 1px solid #ddd; } th, td { padding: .32em .6em .32em 0; vertical-align: bottom; }
th.n, td.n { text-align: right; padding-right: 0; padding-left: .8em; white-space: nowrap; }
td.t { overflow-wrap: anywhere; } tr { break-inside: avoid; } thead { display: table-header-group; }
tr.total td { font-weight: 600; border-top: 1.5px solid #1a1a1a; border-bottom: 0; }
.draft { border: 1px solid #D55E00; color: #D55E00; border-radius: 4px; padding: .4em .8em; font-weight: 600; }
.foot { color: #555; font-size: 9pt; margin-top: 2em; } svg { display: block; margin: .3em 0 .8em; max-width: 100%; }
@media print { body { margin: 0; max-width: none; padding: 0; } }
"""


def page_of(statement: Statement) -> str:
    """The file's text."""
    report, total = statement.versions, statement.versions.total
    name = f"Statement for {statement.tenant}, {statement.month}"
    since, until = as_datetime(report.since_ms), as_datetime(report.until_ms)
    parts = [
        f"<h1>{escape(name)}</h1>",
        f'<p class="sub">{since:%Y-%m-%d} to {until:%Y-%m-%d %H:%M} UTC · made {_instant(statement.made_at_ms)}</p>',
        "" if statement.complete else '<p class="draft">The month is not over: this is what there is so far.</p>',
        '<div class="sum">',
        _figure("Charged", _dollars(statement.charged_nano)),
        _figure("Requests", f"{total.requests:,}"),
        _figure("Prompt tokens", f"{total.tokens.prompt:,}"),
        _figure("Completion tokens", f"{total.tokens.completion:,}"),
        "</div>",
        "<h2>What was used</h2>",
        _versions(statement),
        "<h2>Day by day</h2>",
        _bars(statement.days.lines),
        _days(statement),
        *_elsewhere(statement),
        "<h2>Prices</h2>",
        _prices(statement),
        "<h2>In words</h2>",
        "".join(f"<p>{escape(sentence)}</p>" for sentence in statement_sentences(statement)),
        f'<p class="foot">Days are of UTC. Money is in US dollars; – is not known. Price version '
        f"{escape(report.price_version)}.</p>",
    ]
    head = f'<meta charset="utf-8"><title>{escape(name)}</title><style>{STYLE}</style>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n'
        + "\n".join(filter(None, parts))
        + "\n</body></html>\n"
    )


def _versions(statement: Statement) -> str:
    engines = ("Engine cost", "Margin") if statement.with_engine_costs else ()
    headings = ("Model", "Requests", "Prompt", "of it cached", "Completion", *engines, "Charged")
    lines = statement.versions.lines
    return _table(headings, [_row(statement, line) for line in (*lines, statement.versions.total)])


def _days(statement: Statement) -> str:
    engines = ("Engine cost", "Margin") if statement.with_engine_costs else ()
    headings = ("Day", "Requests", "Prompt", "of it cached", "Completion", *engines, "Charged")
    return _table(headings, [_row(statement, line) for line in (*statement.days.lines, statement.days.total)])


def _row(statement: Statement, line: CostLine) -> list[str]:
    tokens = line.tokens
    counts = [f"{count:,}" for count in (line.requests, tokens.prompt, tokens.cached, tokens.completion)]
    engines = [_dollars(line.engine.loaded_nano), _dollars(line.margin_nano)] if statement.with_engine_costs else []
    return [
        line.name.capitalize() if line.name == "total" else line.name,
        *counts,
        *engines,
        _dollars(line.tariff_nano),
    ]


def _elsewhere(statement: Statement) -> Iterable[str]:
    costs = statement.versions.total.baselines
    if not costs:
        return
    yield "<h2>The same tokens elsewhere</h2>"
    charged = statement.charged_nano
    rows = []
    for cost in costs:
        known = cost.cost_nano is not None and charged is not None and not cost.unlisted
        ends = cost.interval_nano
        rest = with_ends((cost.cost_nano or 0) - (charged or 0), less(ends, charged or 0)) if known else "–"
        dear = "–" if cost.cost_nano is None else with_ends(cost.cost_nano, ends)
        rows.append([cost.name, cost.label, f"{cost.unlisted:,}", dear, rest])
    yield _table(
        ("List price of", "Tokens are", "Unlisted", "Cost", "Less what is charged"), rows, total=False, texts=2
    )


def _prices(statement: Statement) -> str:
    if not statement.tariffs:
        return "<p>No price was in force.</p>"
    rows = [
        [
            info.scope,
            _instant(info.effective_from_ms),
            nano_to_dollars(info.input_nano_per_mtok),
            nano_to_dollars(info.cached_input_nano_per_mtok),
            nano_to_dollars(info.output_nano_per_mtok),
        ]
        for info in statement.tariffs
    ]
    rule = "An adapter's own price comes before the tenant's, and that before its base's."
    return f"<p>Dollars per million tokens. {rule}</p>" + _table(
        ("For", "From", "Input", "Cached input", "Output"), rows, total=False, texts=2
    )


def _bars(lines: Sequence[CostLine]) -> str:
    """What each day was charged; nothing where nothing was."""
    figures = [(line.name, line.tariff_nano or 0) for line in lines]
    most = max((nano for _, nano in figures), default=0)
    if not most:
        return ""
    width = CHART_WIDTH / max(len(figures), 10)
    bars = []
    for at, (day, nano) in enumerate(figures):
        height = max(1.0, nano * (CHART_HEIGHT - 4) / most) if nano > 0 else 0
        bars.append(
            f'<rect x="{at * width:.1f}" y="{CHART_HEIGHT - height:.1f}" width="{width * 0.8:.1f}" '
            f'height="{height:.1f}" fill="#0072B2"><title>{escape(day)}: {said(nano)}</title></rect>'
        )
    label = f"Charged day by day, at most {said(most)}"
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {CHART_WIDTH} {CHART_HEIGHT}" width="{CHART_WIDTH}" '
        f'height="{CHART_HEIGHT}">{"".join(bars)}</svg>'
    )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, total: bool = True, texts: int = 1) -> str:
    """The first `texts` columns are text, the others numbers; with `total` the last row is one."""
    head = "".join(f"<th{_class(at, texts, 't')}>{escape(name)}</th>" for at, name in enumerate(headings))
    body = []
    for number, row in enumerate(rows):
        cells = "".join(f"<td{_class(at, texts, 't')}>{escape(cell)}</td>" for at, cell in enumerate(row))
        last = total and number == len(rows) - 1
        body.append(f'<tr class="total">{cells}</tr>' if last else f"<tr>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _class(at: int, texts: int, text: str) -> str:
    return f' class="{text}"' if at < texts else ' class="n"'


def _figure(name: str, value: str) -> str:
    return f"<div>{escape(name)}<b>{escape(value)}</b></div>"


def _dollars(nano: int | None) -> str:
    return "–" if nano is None else said(nano)


def _instant(ms: int) -> str:
    return f"{as_datetime(ms):%Y-%m-%d %H:%M} UTC"
