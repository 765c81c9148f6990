"""The list of reasons, while it grows."""

from __future__ import annotations

from registry.errors import Finding
from registry.storage.safetensors_header import clip

MAX_FINDINGS = 20
"""An adapter of another base gives one reason per tensor; twenty of them tell the story."""

BY_IMPORT = "`switchyard adapters import` makes them of patterns where that is safe"
NOT_BY_IMPORT = (
    "write them out: of this pattern an import makes none, because it is not proven to be quick to match, or does not "
    "fit the tensors"
)


class Findings:
    """Collects findings up to `MAX_FINDINGS`, every text clipped to what a terminal and a JSON answer can take.

    `for_patterns` is what to do about a pattern: `imported` says that an import has left it as it is.
    """

    def __init__(self, *, imported: bool = False) -> None:
        self.for_patterns = NOT_BY_IMPORT if imported else BY_IMPORT
        self._items: list[Finding] = []

    def add(self, code: str, file: str, found: object, expected: str, tensor: str | None = None) -> None:
        """Note one reason."""
        shown = None if tensor is None else clip(tensor, 200)
        self.keep(Finding(code, clip(file), clip(found), clip(expected, 300), shown))

    def keep(self, finding: Finding) -> None:
        """Note a reason that is worded already."""
        if len(self._items) < MAX_FINDINGS:
            self._items.append(finding)

    def __len__(self) -> int:
        return len(self._items)

    def as_tuple(self) -> tuple[Finding, ...]:
        """The reasons in the order in which they were found."""
        return tuple(self._items)
