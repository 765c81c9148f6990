"""The one door to the terminal: whatever a command prints goes through here, and nothing else may import rich.

Names, labels, reasons and answers come from others. Here they are data: never markup or an emoji's name, and no
character of theirs moves the cursor, colours the screen, turns the direction of text, or begins a line of its own.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from itertools import zip_longest
from typing import Any, TextIO

import typer
from rich.cells import cell_len, chop_cells

NOTHING = "–"
"""Of a table's cell: there is nothing to be known."""
MOST_UNBROKEN = 40
"""Characters of a word that a table on a terminal keeps on one line."""
WORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|\S+")
"""What a table on a terminal keeps on one line: a time is one word."""
WORD_AFTER_SPACE = re.compile(rf"\s*(?:{WORD.pattern})")
GAP = 2
"""Between the columns of a table."""

_UNSEEN = (
    r"\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f"
)
"""Control characters, what turns or hides text, ends of lines, and halves of characters that cannot be encoded."""
_FORBIDDEN = re.compile(f"[{_UNSEEN}]")
_FORBIDDEN_IN_LINES = re.compile(f"(?![\r\n])[{_UNSEEN}]")


def visible(text: object) -> str:
    r"""`text` on one line, with what a terminal would obey or hide written as `\x1b`, `\n`, `\u202e`."""
    return _FORBIDDEN.sub(_escaped, str(text))


def visible_lines(text: object) -> str:
    """The same for text whose line ends are meant, such as a log's."""
    return _FORBIDDEN_IN_LINES.sub(_escaped, str(text))


def _escaped(found: re.Match[str]) -> str:
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    code = ord(found[0])
    return named.get(found[0]) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def say(*lines: object, err: bool = False) -> None:
    """Lines of text for people, each on a line of its own; on stderr with `err`."""
    _write("".join(f"{visible(line)}\n" for line in lines or ("",)), err=err)


def confirm(question: str) -> bool:
    """Ask whoever is at the keyboard, on stderr; no is the default."""
    return typer.confirm(visible(question), err=True)


def prompt(question: str) -> str:
    """Ask for a line of text, on stderr."""
    return str(typer.prompt(visible(question), err=True))


def ask(question: str) -> str:
    """A line from whoever is at the keyboard; the question is on stderr. Raises typer.Abort at the end of the input."""
    return str(typer.prompt(visible(question), err=True, default="", show_default=False))


def edited(text: str) -> str | None:
    """The text as whoever is at the keyboard has changed it in their editor; None when nothing was saved."""
    import click

    return click.edit(text, extension=".json")


def print_csv(text: str) -> None:
    """A CSV document on stdout."""
    _write(visible_lines(text))


def _write(text: str, *, err: bool = False) -> None:
    stream = sys.stderr if err else sys.stdout
    _encodable(stream)
    stream.write(text)
    stream.flush()


def _encodable(stream: TextIO) -> None:
    """A terminal that knows no `–` shows an escape for it, where Python would raise."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None and stream.errors == "strict":
        reconfigure(errors="backslashreplace")


def plain(value: Any) -> Any:
    """Dataclasses, sets and version numbers as JSON-ready values."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value


def print_json(value: Any) -> None:
    """One JSON document on stdout. What a terminal would obey is escaped as JSON does, so it reads back unchanged."""
    _write(_json(value, indent=2))


def print_json_line(value: Any) -> None:
    """The same on one line, for commands whose libraries may print before it."""
    _write(_json(value, indent=None))


def _json(value: Any, indent: int | None) -> str:
    document = json.dumps(plain(value), indent=indent, ensure_ascii=False)
    return _FORBIDDEN_IN_LINES.sub(_json_escaped, document) + "\n"


def _json_escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def print_done(document: Any, sentence: str, json_output: bool) -> None:
    """What a command has changed: a document for scripts, or a sentence for people."""
    print_json(document) if json_output else say(sentence)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "nothing yet") -> None:
    """A table that cuts nothing off: on a terminal words and headings stay whole, elsewhere it is as wide as it needs.

    Where a terminal is too narrow, columns in which nothing stands go and are named below; if that is not enough, each
    row becomes a paragraph. `empty` is said when there are no rows.
    """
    named = [visible(heading) for heading in headings]
    cells = [[visible(cell) if cell is not None else NOTHING for cell in row] for row in rows]
    if not cells:
        say(empty)
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    gone: list[int] = []
    if _widths(named, cells, width) is None:
        gone = [at for at in range(1, len(named)) if all(row[at] in (NOTHING, "0") for row in cells)]
    kept = [at for at in range(len(named)) if at not in gone]
    left, rest = [named[at] for at in kept], [[row[at] for at in kept] for row in cells]
    widths = _widths(left, rest, width)
    lines = _paragraphs(left, rest, width) if widths is None else _table(left, rest, widths)
    _write("".join(f"{line}\n" for line in lines))
    if gone:
        say(f"0 or {NOTHING} in every row: {', '.join(named[at] for at in gone)}")


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    for number, row in enumerate([headings, *rows]):
        folded = [_folded(cell, width) for cell, width in zip(row, widths, strict=True)]
        for parts in zip_longest(*folded, fillvalue=""):
            filled = (part + " " * (width - cell_len(part)) for part, width in zip(parts, widths, strict=True))
            line = (" " * GAP).join(filled).rstrip()
            yield line if number else _bold(line)


def _folded(text: str, width: int) -> list[str]:
    """In lines of at most so many characters, without a broken word but those that are longer."""
    if cell_len(text) <= width:
        return [text]
    lines, line = [], ""
    for word in WORD_AFTER_SPACE.findall(text):
        if cell_len(line + word) <= width:
            line += word
            continue
        *whole, rest = chop_cells(word.lstrip(), width)
        lines += [line, *whole] if line else whole
        line = rest
    return [*lines, line]


def _bold(line: str) -> str:
    styled = sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    return f"\x1b[1m{line}\x1b[0m" if styled else line


def _widths(headings: Sequence[str], rows: Sequence[Sequence[str]], most: int) -> list[int] | None:
    """Of columns that fill at most so many characters together, without a broken word but very long ones; `None` when
    there is no room for that.
    """
    room = most - GAP * (len(headings) - 1)
    words = [[word for cell in column for word in WORD.findall(cell)] for column in zip(headings, *rows, strict=True)]
    named = [_longest(heading.split()) for heading in headings]
    least = [max(name, min(_longest(column), MOST_UNBROKEN)) for name, column in zip(named, words, strict=True)]
    if sum(least) > room:
        return None
    widths = [min(width, room) for width in _natural_widths(headings, rows)]
    while (over := sum(widths) - room) > 0:
        widest = max((at for at, width in enumerate(widths) if width > least[at]), key=widths.__getitem__)
        widths[widest] -= max(1, min(over, widths[widest] - least[widest]) // 2)
    return widths


def _natural_widths(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[int]:
    return [_longest(column) for column in zip(headings, *rows, strict=True)]


def _longest(texts: Iterable[str]) -> int:
    return max(map(cell_len, texts), default=0)


def _paragraphs(headings: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> Iterator[str]:
    """Each row: its first cell, and below it the others, all behind their headings."""
    for row in rows:
        yield from map(_bold, _folded(f"{headings[0]} {row[0]}", width))
        line = ""
        for heading, cell in zip(headings[1:], row[1:], strict=True):
            said = f"  {heading} {cell}"
            if line and cell_len(line + said) > width:
                yield from _folded(line, width)
                line = ""
            line += said
        yield from _folded(line, width)


def _console(*, err: bool = False) -> Any:
    from rich.console import Console

    return Console(stderr=err, highlight=False, markup=False, emoji=False)


class Live:
    """A line at the bottom of a terminal that changes while something takes long; silent where there is none."""

    def __init__(self, status: Any) -> None:
        self._status = status

    def update(self, text: str) -> None:
        """Show this now."""
        if self._status is not None:
            self._status.update(_text(text))


@contextmanager
def live(text: str) -> Iterator[Live]:
    """A live line that is gone at the end of the block."""
    if not sys.stdout.isatty():
        yield Live(None)
        return
    with _console().status(_text(text)) as status:
        yield Live(status)


class Screen:
    """Lines that are drawn anew in their place; without a terminal they are printed each time that they change."""

    def __init__(self, drawn: Any) -> None:
        self._drawn = drawn
        self._shown: list[str] = []

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows that there are."""
        return shutil.get_terminal_size()

    def show(self, lines: Iterable[object]) -> None:
        """These now, instead of those before."""
        new = [visible(line) for line in lines]
        if self._drawn is not None:
            self._drawn.update(_text_of(new), refresh=True)
        elif new != self._shown:
            say(*new)
        self._shown = new


@contextmanager
def screen() -> Iterator[Screen]:
    """The terminal for the time of the block; what was shown last stays."""
    if not sys.stdout.isatty():
        yield Screen(None)
        return
    from rich.live import Live as Drawn

    with Drawn(console=_console(), auto_refresh=False, vertical_overflow="crop") as drawn:
        yield Screen(drawn)


def _text_of(lines: Sequence[str]) -> Any:
    from rich.text import Text

    return Text("\n".join(lines), no_wrap=True, overflow="crop")


def _text(text: str) -> Any:
    from rich.text import Text

    return Text(visible(text))


class StepBar:
    """A bar of steps on stderr, or a count of seconds, for terminals; `shows` is false where there is none."""

    def __init__(self) -> None:
        self.shows = sys.stderr.isatty()
        self._bar: Any = None
        self._task: Any = None

    def update(self, step: int, total: int, text: str, left_s: float | None = None) -> None:
        """`step` of `total` are done, and the others take so long."""
        if self._task is None:
            self.end()
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (BarColumn(bar_width=24), MofNCompleteColumn())
            texts = [TextColumn("{task.fields[left]}", markup=False), TextColumn("{task.description}", markup=False)]
            self._bar = Progress(TextColumn(" "), *columns, *texts, console=_console(err=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(visible(text), total=total, left="")
        left = "" if left_s is None else f"{_duration(left_s)} left"
        self._bar.update(self._task, completed=step, description=visible(text), left=left)

    def wait(self) -> None:
        """Count the seconds of what has just been said, so that it is seen to go on."""
        if not self.shows:
            return
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self.end()
        columns = (TextColumn("          "), SpinnerColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=_console(err=True), transient=True)
        self._bar.start()
        self._bar.add_task("")

    def end(self) -> None:
        """Take it away, so that lines can be printed."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None


def _duration(seconds: float) -> str:
    """As 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def actor() -> str:
    """Who is at the keyboard; in a container the user may have a number and no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
