"""`switchyard experiments shadow`, `shadows`, `shadow-stop`, `pairs` and `judge`: copies of requests to a candidate."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from registry.days import when
from registry.errors import InvalidInput
from registry.names import PRODUCTION
from switchyard.commands.asking import JudgeKeyOption, JudgeUrlOption, KeyOption
from switchyard.console import actor, print_done, print_json, print_table, say
from switchyard.options import JsonFlag, UrlOption
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from registry.service import Registry
    from registry.shadows.pair_store import PairInfo
    from registry.shadows.store import ShadowInfo
    from registry.shadows.summary import JudgeFigures, SideFigures, Summary

UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
PAGE = 200
FOLLOW_S = 5.0
"""Between two looks for pairs to judge."""
ShadowId = typer.Argument(metavar="ID", help="As `experiments shadows` shows it.")


def shadow(
    adapter: str = typer.Argument(help="tenant/adapter."),
    version: str = typer.Argument(help="The candidate, such as 1.1; of the same base as what the alias points at."),
    share: float = typer.Option(0.1, "--share", help="Of the alias's requests that are copied, 0.0001 to 1."),
    lasts: str = typer.Option("1h", "--for", help="How long: a number and s, m, h or d; 30d at most."),
    requests_per_day: int | None = typer.Option(None, "--requests-per-day", help="Copies a day at most [10000]."),
    budget: str | None = typer.Option(None, "--budget", help="Dollars that all copies may cost; then it ends."),
    alias: str = typer.Option(PRODUCTION, "--alias", help="The alias whose requests are copied."),
    json_output: bool = JsonFlag,
) -> None:
    """Let a candidate answer copies of a tenant's requests, which nobody gets and nobody pays for."""
    from registry.money import dollars_to_nano
    from registry.names import parse_ref
    from registry.shadows.terms import USUAL_REQUESTS_PER_DAY, Terms
    from registry.splits.ranges import FULL_WEIGHT

    terms = Terms(
        round(share * FULL_WEIGHT),
        _milliseconds(lasts),
        USUAL_REQUESTS_PER_DAY if requests_per_day is None else requests_per_day,
        None if budget is None else dollars_to_nano(budget, "budget"),
    )
    with open_registry() as registry:
        info = registry.shadows.begin(parse_ref(f"{adapter}@{version}"), terms, alias=alias, actor=actor())
        registry.wait_until_served()
    sentence = f"shadow {info.id}: {_bounds(info)}; see `switchyard experiments pairs {info.id}`"
    print_done(info, sentence, json_output)


def _milliseconds(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if found is None:
        raise InvalidInput(f"for is {text[:40]!r}; expected a number and s, m, h or d, such as 90m", param="for")
    return int(float(found[1]) * UNITS_MS[found[2]])


def _bounds(info: ShadowInfo) -> str:
    from registry.money import nano_to_dollars
    from registry.splits.ranges import FULL_WEIGHT

    dollars = "" if info.budget_nano is None else f" and ${nano_to_dollars(info.budget_nano)} in all"
    return (
        f"{info.share / FULL_WEIGHT:.2%} of {info.adapter}@{info.alias} to {info.candidate} until "
        f"{when(info.until_ms)}, at most {info.requests_per_day} copies a day{dollars}"
    )


def shadows(
    adapter: str | None = typer.Argument(None, help="tenant/adapter. Default: all."), json_output: bool = JsonFlag
) -> None:
    """List shadows, newest first."""
    from registry.money import nano_to_dollars
    from registry.names import parse_whole_adapter
    from registry.splits.ranges import FULL_WEIGHT

    with open_registry() as registry:
        infos = registry.shadows.page(None if adapter is None else parse_whole_adapter(adapter), None, 100)
    if json_output:
        print_json(infos)
        return
    print_table(
        ("ID", "ALIAS", "CANDIDATE", "SHARE", "PAIRS", "ORPHANS", "COST $", "STATE"),
        (
            (
                info.id,
                f"{info.adapter}@{info.alias}",
                info.candidate,
                f"{info.share / FULL_WEIGHT:.2%}",
                info.paired,
                info.orphans,
                nano_to_dollars(info.spent_nano),
                f"until {when(info.until_ms)}" if info.ended_at_ms is None else info.ended_why,
            )
            for info in infos
        ),
        empty="no shadows yet; begin one with `switchyard experiments shadow tenant/adapter VERSION`",
    )


def shadow_stop(
    shadow_id: int = ShadowId,
    reason: str = typer.Option("stopped by hand", "--reason", help="Kept with it."),
    json_output: bool = JsonFlag,
) -> None:
    """End a shadow; its pairs stay as long as they are kept."""
    with open_registry() as registry:
        info = registry.shadows.end(shadow_id, why=reason, actor=actor())
        registry.wait_until_served()
    print_done(info, f"shadow {info.id} has ended: {info.ended_why}", json_output)


def pairs(
    shadow_id: int = ShadowId,
    show: int = typer.Option(0, "--show", min=0, max=PAGE, help="Show so many pairs side by side."),
    differing: bool = typer.Option(False, "--differing", help="Of these only pairs whose answers differ."),
    json_output: bool = JsonFlag,
) -> None:
    """Show what came of a shadow: figures of both sides, what is missing and why, and pairs."""
    from registry.shadows.summary import summarise

    with open_registry() as registry:
        info = registry.shadows.get(shadow_id)
        summary = summarise(registry.pairs.all(shadow_id))
        shown = _some(registry, shadow_id, show, differing=differing)
    if json_output:
        print_json({"shadow": info, "summary": summary, "shown": shown})
        return
    _print_summary(info, summary)
    for pair in shown:
        _print_pair(pair)


def _some(registry: Registry, shadow_id: int, most: int, *, differing: bool) -> list[PairInfo]:
    found: list[PairInfo] = []
    for pair in _whole(registry, shadow_id) if most else ():
        if not (differing and pair.diff.get("exact")):
            found.append(pair)
            if len(found) == most:
                break
    return found


def _whole(registry: Registry, shadow_id: int) -> Iterator[PairInfo]:
    """Pairs of two whole answers with their texts, the oldest first."""
    after = None
    while page := registry.pairs.page(shadow_id, after, PAGE, whole=True, with_content=True):
        yield from page
        after = page[-1].request_id


def _print_summary(info: ShadowInfo, summary: Summary) -> None:
    say(f"shadow {info.id}: {_bounds(info)}" + (f"; ended: {info.ended_why}" if info.ended_why else ""))
    say(f"{info.paired} pairs, {summary.pairs} of them stored; times are of {summary.same_engine} on one engine")
    if info.orphans:
        causes = sorted(((n, cause) for cause, n in info.counts.items() if cause != "paired"), reverse=True)
        say(f"{info.orphans} without a pair: " + ", ".join(f"{cause} {number}" for number, cause in causes))
    if not summary.pairs:
        return
    print_table(("FIGURE", "CONTROL", "CANDIDATE"), _figures(summary.control, summary.candidate))
    say(
        f"identical {_percent(summary.exact)}, the same words {_percent(summary.same_words)}, mean similarity of words "
        f"{_number(summary.similarity, 2)}, same reason of ending {_percent(summary.same_finish)}",
        f"tokens of candidate / control: median {_number(summary.length_ratio_p50, 2)}, nine of ten below "
        f"{_number(summary.length_ratio_p90, 2)}",
        f"median of paired differences: first bytes {_number(summary.ttft_difference_ms, 1)} ms, whole answer "
        f"{_number(summary.total_difference_ms, 1)} ms",
    )
    for judge in summary.judges:
        say(_judged(judge))


def _figures(control: SideFigures, candidate: SideFigures) -> Iterator[tuple[str, str, str]]:
    rows = (
        ("tokens of an answer", "tokens", lambda value: _number(value, 1)),
        ("cost of an answer, $", "cost_nano", lambda value: _number(None if value is None else value / 1e9, 6)),
        ("prompt tokens from a cache", "cached_share", _percent),
        ("first bytes, median ms", "ttft_p50_ms", lambda value: _number(value, 1)),
        ("first bytes, p95 ms", "ttft_p95_ms", lambda value: _number(value, 1)),
        ("whole answer, median ms", "total_p50_ms", lambda value: _number(value, 1)),
        ("whole answer, p95 ms", "total_p95_ms", lambda value: _number(value, 1)),
        ("others on the engine", "in_flight", lambda value: _number(value, 1)),
        ("JSON", "is_json", _percent),
        ("as the schema asks", "fits_schema", _percent),
        ("cut at its bound", "cut", _percent),
    )
    for heading, field, shown in rows:
        yield heading, shown(getattr(control, field)), shown(getattr(candidate, field))


def _judged(judge: JudgeFigures) -> str:
    bias = "" if judge.first_preferred is None else f"; the first place was preferred {judge.first_preferred:.0%}"
    lost = f"; {judge.unreadable} not readable" if judge.unreadable else ""
    return (
        f"judge {judge.judge}: candidate {judge.candidate}, control {judge.control}, ties {judge.ties}, of which "
        f"{judge.turned} turned with the order{bias}{lost}"
    )


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _print_pair(pair: PairInfo) -> None:
    from switchyard.console import visible_lines

    say("", f"request {pair.request_id} ({pair.endpoint}), {when(pair.at_ms)}")
    if pair.content is None:
        say("  its texts are not kept")
        return
    prompt = pair.content.request.get("messages", pair.content.request.get("prompt"))
    last = prompt[-1].get("content") if isinstance(prompt, list) and isinstance(prompt[-1], dict) else prompt
    say(f"  asked      {visible_lines(str(last))}")
    for name, said in (("control", pair.content.control), ("candidate", pair.content.candidate)):
        say(f"  {name:<10} {visible_lines(said.text)}", *(f"             calls {one}" for one in said.calls))
    for verdict in pair.verdicts:
        say(f"  {verdict.judge}: {verdict.verdict}")


def judge(
    shadow_id: int = ShadowId,
    model: str | None = typer.Option(
        None,
        "--judge",
        help="A model that compares the answers, in both orders. Default: that of its experiment's plan.",
    ),
    judge_url: str | None = JudgeUrlOption,
    judge_key_env: str = JudgeKeyOption,
    most: int = typer.Option(200, "--most", min=1, help="Pairs that are judged at most; those that it judged are not."),
    at_once: int = typer.Option(4, "--at-once", min=1, max=64, help="Pairs that are judged at the same time."),
    follow: bool = typer.Option(False, "--follow", help="Go on with pairs that come, until the shadow ends."),
    key: str | None = KeyOption,
    url: str | None = UrlOption,
    json_output: bool = JsonFlag,
) -> None:
    """Let a model judge pairs whose texts are kept: in both orders, where a verdict that turns is a tie."""
    from registry.shadows.summary import summarise
    from switchyard.commands.asking import gateway_asked, judge_at

    with open_registry() as registry:
        info = registry.shadows.get(shadow_id)
        wanted = _judge_of_plan(registry, info)
        name = model or wanted
        if name is None:
            raise InvalidInput("judge is missing: name a model with --judge", param="judge")
        if wanted not in (None, name) and not json_output:
            say(f"experiment {info.experiment_id} counts the verdicts of {wanted}, and none of {name}")
        tenant = info.adapter.partition("/")[0]
        with (
            gateway_asked(registry, tenant, key, url) as asker,
            judge_at(name, judge_url, judge_key_env, asker.client) as who,
        ):
            assert who is not None
            judged = _judge_pairs(registry, shadow_id, who, name, most, at_once)
            while follow and registry.shadows.get(shadow_id).ended_at_ms is None:
                time.sleep(FOLLOW_S)
                judged += _judge_pairs(registry, shadow_id, who, name, most, at_once)
        summary = summarise(registry.pairs.all(shadow_id))
    if json_output:
        print_json({"judged": judged, "judges": summary.judges})
        return
    say(f"{judged} pairs were judged now")
    for figures in summary.judges:
        say(_judged(figures))


def _judge_of_plan(registry: Registry, info: ShadowInfo) -> str | None:
    """The judge that the shadow's experiment decides by, if one does."""
    if info.experiment_id is None:
        return None
    plan = registry.experiments.get(info.experiment_id).plan
    return None if plan.shadow is None else plan.shadow.judge


def _judge_pairs(registry: Registry, shadow_id: int, who: Any, name: str, most: int, at_once: int) -> int:
    """Have pairs judged of which this judge has said nothing yet, so many at most; how many there were."""
    from registry.shadows.judging import to_judge, verdict_of
    from switchyard.commands.asking import step_bar
    from trainer.pairwise.run import TextPair, judge_texts

    found = to_judge(registry.pairs, shadow_id, name, most)
    texts = [TextPair(one.question, one.control, one.candidate) for one in found]
    with step_bar("pairs") as bar:
        for one, said in zip(found, judge_texts(who, texts, at_once, bar), strict=True):
            word = verdict_of(name, control_first=said.incumbent_first, candidate_first=said.candidate_first)
            registry.pairs.judged(shadow_id, one.request_id, word)
    return len(found)


def add_shadows(experiments: typer.Typer) -> None:
    """Make these commands of the group."""
    for command in (shadow, shadows, shadow_stop, pairs, judge):
        experiments.command()(command)
