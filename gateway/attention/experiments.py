"""Experiments that wait for a person, and splits whose traffic is one unit's."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.attention.item import Item, Kind, Known, Severity
from gateway.experiments.decisions import DWELLS
from gateway.experiments.outlook import late_since
from registry.experiments.infos import DecisionInfo, ExperimentInfo

Finding = tuple[Kind, Severity, str, str]
"""Kind, severity, what to do, and the word of the command that does it."""


def experiment_items(known: Known) -> Iterator[Item]:
    """Of those that have not ended."""
    experiments = known.registry.experiments
    for info in experiments.under_way():
        since_ms = late_since(known.registry, info, known.at_ms)
        if since_ms is not None:
            yield Item(
                "analysis_late",
                "act",
                f"experiments/{info.id}",
                f"experiment {info.name} of {info.adapter} is not analysed, so nothing is decided on it",
                "look why the leader's duty 'experiments' fails; what waits is taken in as soon as it does not",
                "switchyard fleet",
                f"/experiments/{info.id}",
                tenant=info.tenant,
                since_ms=since_ms,
            )
        last = next(iter(experiments.decisions(info.id, info.decisions - 1, 1)), None)
        found = _finding(info, last)
        if found is not None and last is not None:
            kind, severity, remedy, word = found
            yield Item(
                kind,
                severity,
                f"experiments/{info.id}",
                f"experiment {info.name} of {info.adapter} is {info.state}: {last.reason}",
                remedy,
                f"switchyard experiments {word} {info.id}",
                f"/experiments/{info.id}",
                tenant=info.tenant,
                since_ms=last.at_ms,
            )


def _finding(info: ExperimentInfo, last: DecisionInfo | None) -> Finding | None:
    if last is None:
        return None
    if last.kind == "failed":
        return "experiment_failed", "act", "mend what it names; what was decided is not in force", "status"
    if last.kind == "ask":
        return "experiment_asks", "act", "promote the treatment, go on, or roll back", "promote"
    if info.state == "inconclusive":
        return "experiment_inconclusive", "act", "stop it, or go on with more traffic", "stop"
    if last.kind == "alarm":
        return "experiment_alarm", "act", "look at what it measures before you let it go on", "status"
    if info.state == "paused":
        return "experiment_paused", "watch", "resume it, or stop it", "resume"
    if last.kind == "hold" and last.figures.get("code") != DWELLS:
        return "ramp_held", "watch", "nothing, unless it stays so", "status"
    return None  # also of a step that takes its time, as it was planned to


def split_items(known: Known) -> Iterator[Item]:
    """Splits in which one unit is too much of the traffic."""
    alarming = known.registry.skews.all_alarming()
    for (tenant, adapter), entry in known.catalog.adapters.items():
        for alias, split in entry.splits.items():
            skew = alarming.get(split.id)
            if skew is not None:
                yield Item(
                    "split_skewed",
                    "watch",
                    f"{tenant}/{adapter}@{alias}",
                    str(skew),
                    "have requests say whose they are, by the header or field that the sentence names",
                    f"switchyard adapters show {tenant}/{adapter}",
                    f"/adapters/{tenant}/{adapter}",
                    tenant=tenant,
                )
