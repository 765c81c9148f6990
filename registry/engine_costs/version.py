"""The cost version: all that a bill is made of beside what was used, as it was known when the bill was made.

    c4-1f0c9a3e.i2.w7.s1764436000000
    the log of engine costs, the newest idle policy, the newest fit of weights, when the leader last saw engines

With it a bill is made again as it was, whatever cost was corrected, which policy put, which fit made and which stay of
an engine found since. The first part alone is a version too: of the log, and of all else what is known now.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FORM = re.compile(r"([^.]*)\.i([0-9]{1,15})\.w([0-9]{1,15})\.s([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class CostVersion:
    """`None`: as it is known now."""

    log: str | None = None
    """Of the log of engine costs alone, such as `c4-1f0c9a3e`."""
    idle: int | None = None
    """Id of the newest idle policy; 0: there was none."""
    weights: int | None = None
    """Id of the newest fit; 0: there was none."""
    known_ms: int | None = None
    """Stays of engines are as they were known then."""

    @classmethod
    def parse(cls, text: str | None) -> CostVersion:
        """As it is written; what is no version is left for the log to refuse."""
        form = None if text is None else _FORM.fullmatch(text)
        return cls(text) if form is None else cls(form[1], int(form[2]), int(form[3]), int(form[4]))

    def __str__(self) -> str:
        return f"{self.log}.i{self.idle}.w{self.weights}.s{self.known_ms}"
