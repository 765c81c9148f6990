"""The numbers of a row: counts by outcome, tokens, money, and four histograms, one behind the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Literal, NamedTuple, get_args

Outcome = Literal["ok", "client_aborted", "limited", "refused", "unavailable", "failed", "broken_off"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
"""How a request ended: `limited` is 429, `refused` any other 4xx, `unavailable` 503, `failed` any other 5xx, and
`broken_off` a stream that ended with an error; one that ended with its key is `refused`.
"""
OK, CLIENT_ABORTED, LIMITED, REFUSED, UNAVAILABLE, FAILED, BROKEN_OFF = range(len(OUTCOMES))
PROMPT, CACHED, COMPLETION, NANO = range(len(OUTCOMES), len(OUTCOMES) + 4)


class Block(NamedTuple):
    """Where a histogram of seconds lies in a row: its sum, and behind it a count for each bucket."""

    at: int
    bounds: tuple[float, ...]
    """The most seconds of each bucket but the last, which has no bound."""

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.at + len(self.bounds) + 2

    def counts(self, row: Sequence[float]) -> list[float]:
        """Of each bucket."""
        return list(row[self.at + 1 : self.end])

    def up_to(self, row: Sequence[float]) -> list[float]:
        """Of each bucket and those before it, as Prometheus has them."""
        return list(accumulate(row[self.at + 1 : self.end]))


LONG_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
TOKEN_S = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5)
OWN_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
TTFT = Block(NANO + 1, LONG_S)
"""From a streamed request to the first byte of its answer."""
INTER_TOKEN = Block(TTFT.end, TOKEN_S)
"""Mean time between two tokens of a streamed answer."""
IN_RINGS = INTER_TOKEN.end
"""So many of the numbers are kept over time."""
OVERHEAD = Block(INTER_TOKEN.end, OWN_S)
"""From the end of a request's body to its first attempt on an engine, without what it waited for."""
TOOK = Block(OVERHEAD.end, LONG_S)
"""From a request's first byte to its answer's last."""
WIDTH = TOOK.end


def quantile(block: Block, row: Sequence[float], part: float) -> float | None:
    """The seconds that `part` (0 to 1) of the counted ones stay below, as Prometheus estimates it: evenly spread within
    a bucket, and the highest bound for what is beyond. `None` when nothing was counted.
    """
    counts = row[block.at + 1 : block.end]
    rank, below, low_s = part * sum(counts), 0.0, 0.0
    if not rank:
        return None
    for bound, count in zip(block.bounds, counts, strict=False):
        if count and below + count >= rank:
            return low_s + (bound - low_s) * (rank - below) / count
        below, low_s = below + count, bound
    return block.bounds[-1]
