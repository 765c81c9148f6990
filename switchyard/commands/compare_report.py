"""What a comparison has found, for people and for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from registry.verdicts import spoken
from registry.votes.agreement import Agreement
from switchyard.commands.compare_run import Compared
from switchyard.console import print_json, print_table, say
from trainer.evaluation.items import Item
from trainer.evaluation.judge import Judging

HEADINGS = ("ITEM", "A", "B", "CHANGE", "B BETTER BY (95 %)", "SAYS")


def print_compared(found: Compared, *, json_output: bool) -> None:
    """The matrix, the preference, and how those who judged behaved."""
    if json_output:
        print_json(_fields(found))
        return
    comparison, said = found.comparison, found.said
    say(f"A  {comparison.a.model}", f"B  {comparison.b.model}")
    say(f"{found.pairs} of {found.prompts} prompts of {comparison.data.name}, {found.units} conversations")
    if comparison.data.left_out:
        say(f"{comparison.data.left_out} more prompts were not asked; --rows asks more")
    print_table(HEADINGS, [*map(_cells, found.items), *_costs(found)])
    for metric, why in found.not_measured.items():
        say(f"{metric} was not measured: {why}")
    for name, cost in zip("AB", found.costs, strict=True):
        if cost.cut:
            most = comparison.manner.max_tokens
            say(f"{cost.cut} answers of {name} were cut at {most} tokens; --max-tokens allows more")
    say("", *_verdict(found))
    if said.judging is not None:
        say(_judging(said.judging, found))
    if said.voters:
        left = "" if said.left_preferred is None else f"; the left one was preferred {said.left_preferred:.0%}"
        say(f"voters: {', '.join(said.voters)}{left}", *map(_agreement, said.agreements))
    if found.exported is not None:
        say(_exported(found))
    say(f"kept in {found.run}; the same command goes on from it")


def _verdict(found: Compared) -> Iterator[str]:
    if found.preference is None:
        yield f"no preference: {found.said.why}"
        return
    counts, preference = found.counts, found.preference
    unknown = f", {counts.unknown} without a verdict" if counts.unknown else ""
    yield f"pairs: B wins {counts.b}, A wins {counts.a}, ties {counts.ties}{unknown}"
    yield preference.text
    if preference.wilson_low is not None and preference.wilson_high is not None:
        ends = f"{preference.wilson_low:.0%} to {preference.wilson_high:.0%}"
        yield f"for a number of pairs that was fixed before: B wins {ends} (Wilson, 95 %)"
    if preference.decided_after is not None:
        yield f"decided after {preference.decided_after} conversations"
    if counts.longer_won is not None:
        yield f"the longer answer won {counts.longer_won:.0%} of pairs that are no ties"


def _judging(judging: Judging, found: Compared) -> str:
    bias = "" if judging.first_preferred is None else f"; the first place was preferred {judging.first_preferred:.0%}"
    lost = f"; {judging.unreadable} not readable" if judging.unreadable else ""
    return f"judge {judging.model}: {judging.flipped:.0%} turned with the order{bias}{lost}{_used(found)}"


def _used(found: Compared) -> str:
    spent, dollars = found.said.spent, found.said.dollars
    if spent is None or not spent.prompt_tokens:
        return ""
    cost = "" if dollars is None else f", ${dollars:.4f}"
    tokens = f"{spent.prompt_tokens:,} prompt and {spent.answer_tokens:,} answer tokens"
    return f"; this time {spent.requests} requests, {tokens}{cost}"


def _agreement(one: Agreement) -> str:
    kappa = "no kappa: all say the same of every pair" if one.kappa is None else f"kappa {one.kappa:.2f}"
    return f"{', '.join(one.judges)}: {one.share:.0%} the same on {one.pairs} pairs, {kappa}"


def _exported(found: Compared) -> str:
    assert found.exported is not None
    one = found.exported
    left = (
        f"; {one.without_form} pairs have no such row (plain prompts, tools, empty answers)" if one.without_form else ""
    )
    return f"{one.rows} rows for DPO, {one.ties} ties left out{left}"


def _cells(item: Item) -> tuple[object, ...]:
    interval = None
    if item.low is not None and item.high is not None:
        interval = f"{100 * item.low:+.1f} to {100 * item.high:+.1f} points"
    a, b = f"{100 * item.incumbent:.1f} %", f"{100 * item.candidate:.1f} %"
    return item.metric, a, b, _change(item.incumbent, item.candidate), interval, spoken(item.word)


def _costs(found: Compared) -> Iterator[tuple[object, ...]]:
    a, b = found.costs
    for name, one, other, form in (
        ("latency, median s", a.median_s, b.median_s, "{:.3f}"),
        ("latency, 95th percentile s", a.p95_s, b.p95_s, "{:.3f}"),
        ("characters, mean", a.characters, b.characters, "{:.0f}"),
        ("answer tokens, mean", a.tokens, b.tokens, "{:.1f}"),
        ("dollars per 1,000 answers", a.dollars, b.dollars, "{:.4f}"),
    ):
        shown = [None if value is None else form.format(value) for value in (one, other)]
        if any(shown):
            change = None if one is None or other is None else _change(one, other)
            yield name, *shown, change, None, None


def _change(before: float, after: float) -> str | None:
    return None if before == 0 else f"{100 * (after - before) / before:+.0f} %"


def _fields(found: Compared) -> dict[str, Any]:
    """Everything but texts."""
    comparison, said = found.comparison, found.said
    a, b = found.costs
    return {
        "comparison": comparison.id,
        **comparison.about,
        "data": {"name": comparison.data.name, "digest": comparison.data.digest},
        "seed": comparison.seed,
        "prompts": found.prompts,
        "pairs": found.pairs,
        "units": found.units,
        "left_out": comparison.data.left_out,
        "items": [_item(item) for item in found.items],
        "not_measured": found.not_measured,
        "costs": {"a": asdict(a), "b": asdict(b)},
        "counts": asdict(found.counts),
        "preference": None if found.preference is None else asdict(found.preference),
        "why_no_preference": said.why,
        "judging": None if said.judging is None else _judging_fields(said.judging),
        "judge_spent": None if said.spent is None else {**asdict(said.spent), "dollars": said.dollars},
        "voters": said.voters,
        "left_preferred": said.left_preferred,
        "agreements": [asdict(one) for one in said.agreements],
        "exported": None if found.exported is None else asdict(found.exported),
        "run": str(found.run),
    }


def _item(item: Item) -> dict[str, Any]:
    fields = asdict(item)
    return {"metric": fields.pop("metric"), "a": fields.pop("incumbent"), "b": fields.pop("candidate"), **fields}


def _judging_fields(judging: Judging) -> dict[str, Any]:
    fields = asdict(judging)
    return {"a_wins": fields.pop("incumbent_wins"), "b_wins": fields.pop("candidate_wins"), **fields}
