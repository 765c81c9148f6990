"""The judge of a chaos run: records of traffic, the faults and alias moves that happened, and what each version says.

Pure: everything is given as data. Times are unix seconds of one machine's clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from loadtest.records import Attempt, Record
from loadtest.signatures import Signatures

UNDER_WAY_S = 0.1
"""Bytes that an engine sent before it was killed or hung may reach the client so much later."""
SLOW_S = 5.0
"""An answer that took longer counts as not served when recovery is measured."""
QUIET_S = 1.0
"""So long without an unserved request means that the fault before is over."""
BREAKING = ("kill", "hang")
"""Faults that may cost the streams which ran on the engine."""


@dataclass(frozen=True, slots=True)
class Move:
    """An alias move. Answers of the old version are current until `settled`, of the new one from `flipped` on."""

    alias: str
    old: str
    new: str
    flipped: float
    settled: float


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was done. It took effect between `began` and `done`; `engine` is None for the controller's."""

    kind: str
    engine: str | None
    began: float
    done: float


@dataclass(frozen=True, slots=True)
class Return:
    """An engine that came back: when its /health was 200, and when it first answered a client, if it did."""

    engine: str
    healthy: float
    served: float | None

    def recovery_s(self, end: float) -> float:
        """How long it took, or at least took until `end`."""
        return (end if self.served is None else self.served) - self.healthy


class Current:
    """Which versions a name stood for at some moment of an interval."""

    def __init__(self, at_start: Mapping[str, str], moves: Iterable[Move]) -> None:
        self._versions: dict[str, list[tuple[str, float, float]]] = {
            alias: [(version, float("-inf"), float("inf"))] for alias, version in at_start.items()
        }
        for move in sorted(moves, key=lambda move: move.flipped):
            line = self._versions[move.alias]
            version, since, _ = line[-1]
            if version != move.old:
                raise ValueError(f"{move.alias} moved from {move.old}, but {version} was current")
            line[-1] = (version, since, move.settled)
            line.append((move.new, move.flipped, float("inf")))

    def between(self, name: str, started: float, ended: float) -> set[str]:
        """Right values of an answer's `model`. A name that is no alias stands for itself."""
        line = self._versions.get(name)
        if line is None:
            return {name}
        return {version for version, since, until in line if since <= ended and until >= started}


def wrong(record: Record, current: Current, signatures: Signatures) -> str | None:
    """Why an answer, or the begun part of one, is somebody else's; None when it is right."""
    if record.forbidden:
        return f"{record.tenant} was answered by {record.model}" if record.last.status == 200 else None
    if not record.models:
        return None
    if len(record.models) > 1:
        return f"one answer to {record.model} names {record.models}"
    (model,) = record.models
    # A retry is a new question: what was current when the answer began to be made counts, not when the client came.
    allowed = current.between(record.model, record.last.started, record.last.ended)
    if model not in allowed:
        return f"{record.tenant} asked for {record.model}, answered by {model}, current: {sorted(allowed)}"
    expected = signatures[model][record.question]
    if not expected.startswith(record.text):
        return f"{model} said {record.text!r} instead of {expected!r}"
    words = min(record.tokens, len(expected.split()))  # a real model may end before it must
    if record.failure is None and len(record.text.split()) != words:
        return f"{model} said {len(record.text.split())} words of {words}"
    return None


def excused(record: Record, faults: Sequence[Fault], engine_of: Callable[[str], str | None]) -> bool:
    """Whether the failure is a stream that was running on an engine in the moment when it was killed or hung.

    It must have begun before and ended after, by a proper error event. `engine_of` tells the engine of a request id.
    """
    last = record.last
    if not record.stream or last.first_byte is None or not last.proper_error or last.request_id is None:
        return False
    engine = engine_of(last.request_id)
    return any(
        fault.kind in BREAKING
        and fault.engine == engine
        and last.first_byte <= fault.done + UNDER_WAY_S
        and last.ended >= fault.began
        for fault in faults
    )


def unserved(attempt: Attempt, slow_s: float) -> bool:
    """Whether this exchange shows that not all traffic is served."""
    return attempt.failure is not None or attempt.ended - attempt.started > slow_s


def recoveries(faults: Sequence[Fault], unserved_starts: Iterable[float]) -> list[float]:
    """For each fault the seconds until no unserved request started any more.

    Unserved requests less than `QUIET_S` apart are one episode, blamed on the last fault before its first. What started
    before the first fault is no fault's.
    """
    found = [0.0] * len(faults)
    to_blame, last = -1, float("-inf")
    for start in sorted(unserved_starts):
        if not faults or start < faults[0].began:
            continue
        if start - last > QUIET_S:
            to_blame = max(n for n, fault in enumerate(faults) if fault.began <= start)
        last = start
        found[to_blame] = max(found[to_blame], start - faults[to_blame].began)
    return found


def report(
    records: Sequence[Record],
    faults: Sequence[Fault],
    returns: Sequence[Return],
    current: Current,
    signatures: Signatures,
    engine_of: Callable[[str], str | None],
    slow_s: float = SLOW_S,
) -> dict[str, object]:
    """The JSON document; what explains the figures is under `detail`."""
    wrongs = [text for record in records if (text := wrong(record, current, signatures))]
    failures = [record for record in records if record.failure is not None]
    excesses = [record for record in failures if not excused(record, faults, engine_of)]
    spared = {id(record) for record in failures} - {id(record) for record in excesses}
    starts = [
        attempt.started
        for record in records
        if not record.forbidden
        for attempt in record.attempts
        if unserved(attempt, slow_s) and id(record) not in spared
    ]
    recovered = recoveries(faults, starts)
    end = max(record.last.ended for record in records)
    came_back = [returned.recovery_s(end) for returned in returns]
    raw = Counter(attempt.status for record in records for attempt in record.attempts)
    return {
        "wrong_answers": len(wrongs),
        "client_404": sum(record.last.status == 404 and not record.forbidden for record in records),
        "excess_failures": len(excesses),
        "max_recovery_s": round(max([*recovered, *came_back], default=0.0), 3),
        "requests": len(records),
        "detail": {
            "broken_streams_excused": len(failures) - len(excesses),
            "retried": sum(len(record.attempts) > 1 for record in records),
            "unserved_before_any_fault": sum(start < faults[0].began for start in starts) if faults else len(starts),
            "raw_statuses": {str(status): count for status, count in sorted(raw.items())},
            "refused_foreign": sum(record.forbidden and record.last.status == 404 for record in records),
            "wrong_examples": wrongs[:5],
            "excess_examples": [describe(record, engine_of) for record in excesses[:8]],
            "faults": [
                {"kind": fault.kind, "engine": fault.engine, "recovery_s": round(seconds, 3)}
                for fault, seconds in zip(faults, recovered, strict=True)
            ],
            "returns": [
                {"engine": returned.engine, "served": returned.served is not None, "recovery_s": round(seconds, 3)}
                for returned, seconds in zip(returns, came_back, strict=True)
            ],
        },
    }


def describe(record: Record, engine_of: Callable[[str], str | None]) -> str:
    """One line about a failed request."""
    last = record.last
    engine = engine_of(last.request_id) if last.request_id else None
    kind = ("stream" if record.stream else "whole") + (", begun" if last.first_byte is not None else "")
    return (
        f"{last.started:.3f} to {last.ended:.3f}: {record.model} ({kind}) on {engine} after {len(record.attempts)} "
        f"attempts, request {last.request_id}: {last.failure}"
    )
