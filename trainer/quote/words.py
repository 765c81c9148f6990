"""A quote as lines for people: what, and how much."""

from __future__ import annotations

from collections.abc import Iterator

from registry.money import nano_to_dollars
from registry.words import size
from trainer.quote.quote import Quote

Line = tuple[str, str]


def row_lines(found: Quote) -> Iterator[Line]:
    """Rows, tokens and memory."""
    rows = found.rows
    yield "rows", f"{len(rows.lengths):,} to train on, {rows.heldout:,} held out"
    yield "copies", f"{rows.copies:,} exact copies among them"
    yield "leak", f"{rows.seen:,} held-out rows ask what training rows ask"
    yield (
        "row",
        f"{rows.percentile(50):,} tokens is the median, {rows.percentile(99):,} the 99th percentile, "
        f"{rows.longest:,} the longest; {rows.cut:,} truncated",
    )
    yield "a pass", f"{rows.tokens:,} tokens, {rows.answer_tokens:,} of answers"
    yield "training", f"{found.steps:,} steps, {found.trained_tokens:,} tokens"
    share = 100 * found.trainable_parameters / found.parameters
    yield "trained", f"{found.trainable_parameters:,} of {found.parameters:,} parameters ({share:.2f} %)"
    room = found.memory_bytes
    there = "" if room is None else f", {size(room)} are there: {'it fits' if found.fits else 'IT DOES NOT FIT'}"
    used = "" if found.peak_bytes is None else f" ({size(found.peak_bytes)} in use while steps were timed)"
    yield "memory", f"{size(found.memory.total)}{used}, and {size(found.evaluation_bytes)} to measure results{there}"


def time_lines(found: Quote) -> Iterator[Line]:
    """How long the steps take."""
    time = found.time
    if time is None:
        yield "time", "not measured"
        return
    yield (
        "time",
        f"{_duration(time.seconds)} ({_duration(time.fastest_seconds)} to {_duration(time.slowest_seconds)}) at "
        f"{time.tokens_per_second:,.0f} tokens/s on {time.device}",
    )


def money_lines(found: Quote) -> Iterator[Line]:
    """What it costs, and when it is paid for."""
    yield "cost", "unpriced" if found.cost_nano is None else f"${nano_to_dollars(found.cost_nano)}"
    even = found.break_even
    if even is None:
        yield "break-even", "unknown"
        return
    each = f"${nano_to_dollars(even.api_nano)} at the API, ${nano_to_dollars(even.own_nano)} here"
    after = "never: the API is no dearer" if even.requests is None else f"after {even.requests:,} requests"
    yield "break-even", f"{after} ({each}, a request)"


def sentence(found: Quote) -> str:
    """All of it in one line, for an event."""
    parts = dict((*row_lines(found), *time_lines(found), *money_lines(found)))
    return f"Quote: {parts['training']}; memory {parts['memory']}; time {parts['time']}; cost {parts['cost']}."


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h"
