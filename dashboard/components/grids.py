"""A grid of cells with heat: what lies where, and how warm it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

HEATS = 5


@dataclass(frozen=True, slots=True)
class HeatCell:
    """`heat` is 0 to 1, `None` where there is nothing. It is a shade, and `text` says the same; `about` is the rest."""

    heat: float | None
    text: str = ""
    about: str = ""
    mark: str = ""
    """A class more: `home` is outlined, `bad` is barred."""


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One row; `note` stands below its name."""

    name: str
    cells: Sequence[HeatCell]
    href: str = ""
    note: str | Markup = ""


def heat(label: str, corner: str, columns: Sequence[str], rows: Sequence[HeatRow]) -> Markup:
    """The grid as a table that scrolls within its card."""
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name in columns)
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{}"><table class="heat"><thead><tr>'
        '<th scope="col">{}</th>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(label, corner, head, Markup("").join(_row(row) for row in rows))


def _row(row: HeatRow) -> Markup:
    name = Markup('<a href="{}">{}</a>').format(row.href, row.name) if row.href else Markup("{}").format(row.name)
    note = Markup('<div class="note">{}</div>').format(row.note) if row.note else ""
    cells = Markup("").join(_cell(cell) for cell in row.cells)
    return Markup('<tr><th scope="row">{}{}</th>{}</tr>').format(name, note, cells)


def _cell(cell: HeatCell) -> Markup:
    kind = "none" if cell.heat is None else f"h{min(HEATS, int(max(cell.heat, 0.0) * HEATS + 0.999))}"
    return Markup('<td class="cell {} {}" title="{}">{}</td>').format(kind, cell.mark, cell.about, cell.text)
