"""Sums of one gateway since its leader's term began, as samples for Prometheus."""

from __future__ import annotations

import operator
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from gateway.metrics import families
from gateway.metrics.counts import Counted, CountedRow, Level, Tallies
from gateway.metrics.families import Family, Join
from gateway.metrics.layout import (
    CACHED,
    COMPLETION,
    INTER_TOKEN,
    NANO,
    OUTCOMES,
    OVERHEAD,
    PROMPT,
    TOOK,
    TTFT,
    WIDTH,
    Block,
)
from gateway.metrics.naming import OTHER
from gateway.metrics.rings import ALL, Line
from registry.money import NANO as DOLLAR

USUAL_STATUS = (200, 499, 429, 400, 503, 500, 200)
"""By outcome: under these an endpoint's counters begin at 0, so that the first error is an increase."""
MOST_LABELS = 200
"""Of one counter that workers count by labels; what comes beyond is `_other`."""
KINDS = {"prompt": PROMPT, "cached": CACHED, "completion": COMPLETION}
Sample = list[Any]
Samples = dict[str, list[Sample]]


class LineFamilies(NamedTuple):
    """What is told of lines of a kind."""

    kind: str
    requests: Family
    tokens: Family | None = None
    dollars: Family | None = None
    ttft: Family | None = None


OF_LINES = (
    LineFamilies("engine", families.ENGINE_REQUESTS),
    LineFamilies(
        "tenant", families.TENANT_REQUESTS, families.TENANT_TOKENS, families.TENANT_COST, families.TENANT_TTFT
    ),
    LineFamilies(
        "adapter", families.ADAPTER_REQUESTS, families.ADAPTER_TOKENS, families.ADAPTER_COST, families.ADAPTER_TTFT
    ),
)
BY_ENDPOINT: tuple[tuple[Family, Block], ...] = (
    (families.TTFT, TTFT),
    (families.INTER_TOKEN, INTER_TOKEN),
    (families.OVERHEAD, OVERHEAD),
    (families.TOOK, TOOK),
)


class Sums:
    """Of one gateway."""

    def __init__(self) -> None:
        self._cells: dict[Line, list[float]] = {}
        self._requests: dict[tuple[str, str, str], float] = {}
        """(endpoint, outcome, status)."""
        self._tallies: dict[str, dict[tuple[str, ...], float]] = {}
        self._waits: dict[str, list[float]] = {}

    def add_row(self, row: CountedRow, lines: Sequence[Line]) -> None:
        """Count a row, for each of these lines."""
        for line in lines:
            cell = self._cells.get(line)
            if cell is None:
                cell = self._begin(line)
            for place, number in zip(row.at, row.by, strict=True):
                cell[place] += number
        for place, number in zip(row.at, row.by, strict=True):
            if place < len(OUTCOMES):
                key = (row.endpoint, OUTCOMES[place], str(row.status))
                self._requests[key] = self._requests.get(key, 0) + number

    def _begin(self, line: Line) -> list[float]:
        if line[0] == "endpoint":
            for outcome, status in zip(OUTCOMES, USUAL_STATUS, strict=True):
                self._requests.setdefault((line[1], outcome, str(status)), 0)
        cell = self._cells[line] = [0.0] * WIDTH
        return cell

    def add_others(self, counted: Counted) -> None:
        """Count what is not of rows."""
        self.add_tallies(counted.tallies)
        for cause, times in counted.waits.items():
            known = self._waits.setdefault(cause, [0.0] * len(times))
            for place, number in enumerate(times):
                known[place] += number

    def add_tallies(self, tallies: Tallies) -> None:
        """Count these by family and labels."""
        for name, counts in tallies.items():
            known = self._tallies.setdefault(name, {})
            for labels, count in counts:
                if labels not in known and len(known) >= MOST_LABELS:
                    labels = (OTHER,) * len(labels)
                known[labels] = known.get(labels, 0) + count

    def forget(self, kind: str, names: Iterable[str]) -> None:
        """These have no names any more."""
        for name in names:
            self._cells.pop((kind, name), None)

    def keep(self, kind: str, names: Container[str]) -> None:
        """The others are gone."""
        self.forget(kind, [name for name, _ in self._of(kind) if name not in names])

    def samples(self) -> Samples:
        """All of it."""
        found: Samples = {
            families.REQUESTS.name: [[key, count] for key, count in self._requests.items()],
            families.TOKENS.name: _tokens([], self._cells.get(ALL) or [0.0] * WIDTH),
            families.QUEUE.name: [[[cause], times[1:], times[0]] for cause, times in self._waits.items()],
        }
        for family, block in BY_ENDPOINT:
            found[family.name] = [_times(name, cell, block) for name, cell in self._of("endpoint")]
        for told in OF_LINES:
            for name, cell in self._of(told.kind):
                _add(found, told.requests, [[[name, outcome], cell[at]] for at, outcome in enumerate(OUTCOMES)])
                _add(found, told.tokens, _tokens([name], cell))
                _add(found, told.dollars, [[[name], cell[NANO] / DOLLAR]])
                _add(found, told.ttft, [_times(name, cell, TTFT)])
        for name, counts in self._tallies.items():
            found[name] = [[labels, count] for labels, count in counts.items()]
        return found

    def _of(self, kind: str) -> list[tuple[str, list[float]]]:
        return [(name, cell) for (what, name), cell in self._cells.items() if what == kind]


def _tokens(labels: list[str], cell: Sequence[float]) -> list[Sample]:
    return [[[*labels, kind], cell[place]] for kind, place in KINDS.items()]


def _times(name: str, cell: Sequence[float], block: Block) -> Sample:
    return [[name], block.counts(cell), cell[block.at]]


def _add(found: Samples, family: Family | None, samples: list[Sample]) -> None:
    if family is not None:
        found.setdefault(family.name, []).extend(samples)


JOINS: Mapping[Join, Callable[[float, float], float]] = {"sum": operator.add, "min": min, "max": max}


def joined(levels: Iterable[Iterable[Level]]) -> Samples:
    """What all workers have of what each has for itself, in the way that its family says."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for of_worker in levels:
        for name, labels, value in of_worker:
            known = found.setdefault(name, {})
            known[labels] = JOINS[families.BY_NAME[name].join](known[labels], value) if labels in known else value
    return {name: [[labels, value] for labels, value in known.items()] for name, known in found.items()}
