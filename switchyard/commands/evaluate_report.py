"""The evaluation matrix for people and for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from registry.gates.store import CertificateInfo
from registry.verdicts import spoken
from switchyard.console import print_json, print_table, say
from trainer.evaluation.comparison import Evaluation
from trainer.evaluation.items import Item
from trainer.evaluation.judge import Judging


def evaluation_fields(found: Evaluation) -> dict[str, Any]:
    """Everything but the rows and answers, for scripts."""
    fields = asdict(found)
    fields["data"] = {
        "name": found.data.name,
        "digest": found.data.digest,
        "rows": len(found.data.rows),
        "units": found.data.units,
        "left_out": found.data.left_out,
    }
    fields["items"] = [{**asdict(item), "word": item.word} for item in found.items]
    for one, part in zip(fields["slices"], found.slices, strict=True):
        one["item"]["word"] = part.item.word
    for pair in ("latency", "cut"):
        incumbent, candidate = fields[pair]
        fields[pair] = {"incumbent": incumbent, "candidate": candidate}
    return fields


def print_outcome(found: Evaluation, certificate: CertificateInfo, *, json_output: bool) -> None:
    """What was found, and how it was written down."""
    if json_output:
        print_json({**evaluation_fields(found), "certificate": certificate})
        return
    print_evaluation(found)
    _print_certificate(certificate)
    say(*what_follows(certificate.verdict, certificate.candidate, found.items))


def print_evaluation(found: Evaluation) -> None:
    """The matrix, slices, what is missing in it, and rows that the candidate lost."""
    say(f"{found.candidate.model} against {found.incumbent.model} on {len(found.data.rows)} rows of {found.data.name}")
    if found.data.left_out:
        say(f"{found.data.left_out} more rows were not asked; --rows asks more")
    print_table(
        ("ITEM", "INCUMBENT", "CANDIDATE", "IMPROVEMENT", "95 % INTERVAL", "SAYS"),
        (*(_cells(item.metric, item) for item in found.items), *_latency_rows(found)),
    )
    for warning in found.warnings:
        say(f"warning: {warning}")
    for metric, judging in found.judgings.items():
        say(_judging(metric, judging))
    for metric, why in found.not_measured.items():
        say(f"{metric} was not measured: {why}")
    for side, cut in zip((found.incumbent, found.candidate), found.cut, strict=True):
        if cut:
            say(f"{cut} answers of {side.model} were cut at {found.max_tokens} tokens; --max-tokens allows more")
    if found.slices:
        say("", "Slices: the more there are, the more of them differ by chance alone")
        print_table(
            ("SLICE", "ROWS", "INCUMBENT", "CANDIDATE", "IMPROVEMENT", "95 % INTERVAL", "SAYS"),
            (
                (f"{one.item.metric}, {one.field} = {one.value}", one.item.rows, *_cells("", one.item)[1:])
                for one in found.slices
            ),
        )
    for lost in found.lost:
        say("", f"line {lost.line}, right before and wrong now: {lost.prompt}")
        say(f"  expected   {lost.expected}", f"  incumbent  {lost.incumbent}", f"  candidate  {lost.candidate}")


def _judging(metric: str, judging: Judging) -> str:
    """How a judge behaved."""
    won = f"candidate {judging.candidate_wins}, incumbent {judging.incumbent_wins}, ties {judging.ties}"
    bias = "" if judging.first_preferred is None else f"; the first place was preferred {judging.first_preferred:.0%}"
    lost = f"; {judging.unreadable} not readable" if judging.unreadable else ""
    return f"{metric} by {judging.model}: {won}; {judging.flipped:.0%} turned with the order{bias}{lost}"


def _print_certificate(certificate: CertificateInfo) -> None:
    say("", f"verdict: {certificate.verdict}")
    say(*(f"  {reason}" for reason in certificate.document["reasons"]))
    say(f"certificate {certificate.digest}")


def what_follows(verdict: str, candidate: str, items: Sequence[Item]) -> list[str]:
    """What to do with a version: nobody is told to serve what was just measured to be worse."""
    words = {item.metric: item.word for item in items}
    worse = [metric for metric, word in words.items() if word == "worse"]
    command = f"switchyard adapters promote {candidate}"
    if verdict == "passed":
        return [f"serve it: {command}"]
    if verdict != "measured":
        return []
    if worse:
        return [f"it is worse by {', '.join(worse)}: leave what is in production"]
    if "better" in words.values():
        return [f"serve it: {command}"]
    return [f"it is not shown to be better: more rows may tell (--rows); to serve it all the same: {command}"]


def _cells(name: str, item: Item) -> tuple[object, ...]:
    interval = None if item.low is None or item.high is None else f"{item.low:+.3f} to {item.high:+.3f}"
    return (
        name,
        f"{item.incumbent:.3f}",
        f"{item.candidate:.3f}",
        f"{item.improvement:+.3f}",
        interval,
        spoken(item.word),
    )


def _latency_rows(found: Evaluation) -> list[tuple[object, ...]]:
    before, now = found.latency
    return [
        ("latency, median s", f"{before.median_s:.3f}", f"{now.median_s:.3f}", None, None, None),
        ("latency, 95th percentile s", f"{before.p95_s:.3f}", f"{now.p95_s:.3f}", None, None, None),
    ]
