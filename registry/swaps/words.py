"""What a swap has come to, in sentences for people: one for each state, so that none says what is not so yet."""

from __future__ import annotations

from collections.abc import Iterator

from registry.swaps.infos import DONE, DRAINING, FAILED, PRELOADING, REQUESTED, VERIFIED, SwapInfo


def swap_said(swap: SwapInfo) -> Iterator[str]:
    """Where the traffic goes, what is under way, and why it is not otherwise."""
    flipped = swap.detail.get("flipped_at_ms") is not None
    yield f"{swap.adapter}@{swap.alias} {_flipped(swap) if flipped else _as_before(swap)}"
    if swap.state == FAILED:
        after = "its end failed, after the traffic had moved" if flipped else f"{_wanted(swap)} failed"
        yield f"{after}: {swap.detail.get('error', 'the reason is not known')}"
    elif swap.state != DONE:
        yield f"{_under_way(swap)} ({swap.state})"
    if (of := swap.detail.get("experiment")) is not None:
        yield f"experiment {of['id']} ({of['name']}) asked for it: {of['kind']}"
    if (note := swap.detail.get("note")) is not None:
        yield f"note: {note}"
    if (split := swap.detail.get("split")) is not None:
        yield f"this began split {split}"
    if (ended := swap.detail.get("ended_split")) is not None:
        yield f"this ended split {ended}"


def _flipped(swap: SwapInfo) -> str:
    came_from = swap.detail.get("from")
    if swap.kind != "move":
        return f"was split: {swap.goal}" if len(swap.arms) > 1 else f"was split no more: all went to {swap.to_version}"
    if came_from is None:
        return f"was pointed at {swap.goal}, its first version"
    return f"stayed at {swap.goal}" if came_from == swap.goal else f"moved from {came_from} to {swap.goal}"


def _as_before(swap: SwapInfo) -> str:
    came_from = swap.detail.get("from")
    if swap.kind != "move":
        return "kept its split, or had none, as before" if swap.state == FAILED else "goes where it went before"
    if swap.state == FAILED:
        return "was left pointing at nothing" if came_from is None else f"stayed at {came_from}"
    return "points at nothing yet" if came_from is None else f"still points at {came_from}"


def _wanted(swap: SwapInfo) -> str:
    return f"the move to {swap.goal}" if swap.kind == "move" else f"the split {swap.goal}"


def _under_way(swap: SwapInfo) -> str:
    if swap.state == REQUESTED:
        return f"{_wanted(swap)} waits for a running gateway to begin it"
    if swap.state in (PRELOADING, VERIFIED):
        return f"{_wanted(swap)} is being prepared: what it needs is loaded and proved on its engines"
    if swap.state == DRAINING:
        return f"requests that run on {swap.detail.get('from') or 'the old version'} are waited for"
    return "workers are taking it over"
