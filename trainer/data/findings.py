"""What checks find in rows that can be read: one sentence each, with the lines it is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from trainer.watch import Watch

Level = Literal["info", "warn", "error"]
MAX_LINES = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know. `code` is stable; `lines` are the first few, 1-based; an error means: do not train on it."""

    level: Level
    code: str
    lines: tuple[int, ...]
    text: str

    @property
    def sentence(self) -> str:
        """The text, with the lines where there are some."""
        if not self.lines:
            return self.text
        more = ", …" if len(self.lines) == MAX_LINES else ""
        return f"{self.text} ({'line' if len(self.lines) == 1 else 'lines'} {', '.join(map(str, self.lines))}{more})"


def tell(watch: Watch, findings: Iterable[Finding]) -> None:
    """Say them to whoever follows a training, with code and lines as data."""
    for one in findings:
        data = {"code": one.code, "lines": list(one.lines)}
        watch.say(one.sentence, level="info" if one.level == "info" else "warn", data=data)


def finding(level: Level, code: str, text: str, lines: Iterable[int] = ()) -> Finding:
    """With the first few of the lines."""
    return Finding(level, code, tuple(sorted(set(lines))[:MAX_LINES]), text)
