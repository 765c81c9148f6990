"""The blocks of code of a page of docs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.live.installation import ROOT

PAGE = ROOT / "docs" / "clients.md"
PIECE = re.compile(r"^## (?P<heading>[^\n]+)$|^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
OUR_OWN = ("`openai` (Python)", "`anthropic` (Python)")
"""Headings whose packages are in the project's environment; those of other Python clients have one of their own."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """One block."""

    heading: str
    number: int
    """Within its heading, from 1."""
    language: str
    code: str

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.heading} {self.number}"

    @property
    def is_ours(self) -> bool:
        """Whether it runs in the project's environment."""
        return self.heading in OUR_OWN


def configurations(page: Path = PAGE) -> list[str]:
    """Of clients, in YAML."""
    return [piece["code"] for piece in PIECE.finditer(page.read_text()) if piece["language"] == "yaml"]


def snippets(page: Path = PAGE) -> list[Snippet]:
    """All below a heading that run; the one above them says which variables there are, and YAML is a client's own."""
    found: list[Snippet] = []
    heading = ""
    for piece in PIECE.finditer(page.read_text()):
        if piece["heading"]:
            heading = piece["heading"]
        elif heading and piece["language"] != "yaml":
            number = 1 + sum(one.heading == heading for one in found)
            found.append(Snippet(heading, number, piece["language"], piece["code"]))
    return found
