"""What one tenant can do to another that asks 20 times a second: slow it, refuse it, fill the gateway's memory.

Each attack is led with 12 connections, or with as many as it is about, by a process on other addresses that leaves the
processors to all others. Times without and with it are taken in turns, in one run: `ratio` and `extra_ms` are medians
over the turns, of the 95th percentile with the attack by that without, and of what it is above 1.2 of that.
`worst_p95_ratio` and `worst_p95_extra_ms` are the worst of all attacks but `noisy`, which is `noisy_p95_ratio`:
requests of a usual size, 20 times as many as the tenant's share of an engine that is full. `refused_of_others`: of the
other tenant's requests, in all of it. `rss_peak_mb`: the gateway's most. Then requests that are broken at random:
`fuzzed` of them, `server_errors` but for those that say honestly what is not there, `rss_slope_mb` by which the gateway
grows in 100,000. Last, `timing`: by kind of thing, the time for another tenant's by that for one that nobody has.

With `SWITCHYARD_BAR_ATTACKS=noisy,model_lists` these attacks alone are led, and nothing is held against a bar: name
another folder for the result with `--out`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.bars.support.abuse import attacks
from tests.bars.support.abuse.attacker import Aim, Attack, Attacker, attacker
from tests.bars.support.abuse.fuzzing import Fuzzed, fuzzed
from tests.bars.support.abuse.installation import ATTACKER, OTHER, WARM, Installation, installation
from tests.bars.support.abuse.memory import forget_peak, peak_mb
from tests.bars.support.abuse.neighbour import Asked, Neighbour, Slice, neighbour
from tests.bars.support.abuse.timing import times_by_kind

ROUNDS, SLICE_S = 3, 4.0
FUZZED, LEAST_FUZZED, SEED = 100_000, 500, 17
"""A small run sends few, as a test sends some thousands."""
MOST_RATIO, MOST_EXTRA_MS, MOST_NOISY, MOST_RSS_MB, MOST_SLOPE_MB = 1.2, 5.0, 1.2, 400.0, 20.0
TIMED, LEAST_TIME, MOST_TIME = 300, 0.8, 1.25
TOKENS, LONGER = 6, 16
"""Of the other tenant's answers: 70 ms, and 170 ms where a full engine gives a place away every 12 ms."""


@dataclass(frozen=True, slots=True)
class Siege:
    """One attack, and what is special about it."""

    attack: Attack
    tokens: int = TOKENS
    cold: bool = False
    """Whether the other tenant asks for adapters too that are not loaded."""
    hangs: bool = False
    """Whether the attacker's own engine hangs meanwhile."""

    @property
    def name(self) -> str:
        """As in the result."""
        return self.attack.__name__


SIEGES = (
    Siege(attacks.long_streams),
    Siege(attacks.all_places, cold=True),
    Siege(attacks.cold_storm, cold=True),
    Siege(attacks.noisy, tokens=LONGER),
    Siege(attacks.large_bodies, hangs=True),
    Siege(attacks.logprobs),
    Siege(attacks.idle_strangers),
    Siege(attacks.model_lists),
    Siege(attacks.key_guesses),
    Siege(attacks.nested_bodies),
    Siege(attacks.half_bodies),
)
NOISY = attacks.noisy.__name__
ATTACKS = "SWITCHYARD_BAR_ATTACKS"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one attack: the other tenant's slices, in turns; what the attacker got, by status; the gateway's most MB."""

    quiet: list[Slice]
    under: list[Slice]
    answers: Counter[int]
    peak_mb: float

    @property
    def ratio(self) -> float:
        """Median over the turns."""
        return median(self._over(lambda quiet_ms, ms: ms / quiet_ms))

    @property
    def extra_ms(self) -> float:
        """Likewise."""
        return max(0.0, median(self._over(lambda quiet_ms, ms: ms - MOST_RATIO * quiet_ms)))

    @property
    def refused(self) -> int:
        """Of the other tenant's requests, with and without the attack."""
        return sum(one.refused for one in (*self.quiet, *self.under))

    def document(self) -> dict[str, Any]:
        """For the result's file."""
        colds = {"cold_quiet_ms": self.quiet, "cold_ms": self.under}
        found = {name: [ms for one in slices if (ms := one.cold_ms()) is not None] for name, slices in colds.items()}
        return {
            "p95_quiet_ms": round(median(one.p95_ms() for one in self.quiet), 1),
            "p95_ms": round(median(one.p95_ms() for one in self.under), 1),
            "ratio": round(self.ratio, 3),
            "extra_ms": round(self.extra_ms, 1),
            "asked": sum(len(one.heard) for one in self.under),
            "refused": self.refused,
            **{name: round(median(times), 1) for name, times in found.items() if times},
            "rss_peak_mb": round(self.peak_mb, 1),
            "attacker_heard": {str(status): count for status, count in sorted(self.answers.items())},
        }

    def _over(self, figure: Callable[[float, float], float]) -> list[float]:
        return [figure(quiet.p95_ms(), under.p95_ms()) for quiet, under in zip(self.quiet, self.under, strict=True)]


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Every attack, then the broken requests; or the attacks that are named. Raises `ValueError` for unknown ones."""
    wanted = _wanted(os.environ.get(ATTACKS, ""))
    with installation(folder, scale) as all_:
        key = all_.house.keys[OTHER]
        aim = Aim(all_.gateway.url, all_.house.keys[ATTACKER], all_.adapters, all_.hung, max(scale, 0.1))
        with neighbour(all_.gateway.url, key, WARM, all_.cold) as other, attacker() as enemy:
            asked = Asked(1.0, TOKENS, cold=False)
            other.begin(asked)  # loads what is asked for
            other.end(asked)
            outcomes = {siege.name: _outcome(siege, aim, all_, (other, enemy), scale) for siege in wanted}
        if len(wanted) < len(SIEGES):
            return {"figures": {name: one.document() for name, one in outcomes.items()}, "bars": {}, "speed": {}}
        broken = fuzzed(
            all_.gateway.url, all_.gateway.pid, key, [WARM, "triage"], max(LEAST_FUZZED, int(FUZZED * scale**2)), SEED
        )
        timing = times_by_kind(all_, max(20, int(TIMED * min(scale, 1.0))))
    return _result(outcomes, broken, timing)


def _wanted(named: str) -> tuple[Siege, ...]:
    names = {name.strip() for name in named.split(",") if name.strip()}
    if unknown := names - {siege.name for siege in SIEGES}:
        known = ", ".join(siege.name for siege in SIEGES)
        raise ValueError(f"{ATTACKS} names {', '.join(sorted(unknown))}, which is no attack; choose from {known}")
    return tuple(siege for siege in SIEGES if not names or siege.name in names)


def _outcome(siege: Siege, aim: Aim, all_: Installation, who: tuple[Neighbour, Attacker], scale: float) -> Outcome:
    """In turns: without, with, without, …"""
    other, enemy = who
    rounds = ROUNDS if scale >= 1 else 1
    asked = Asked(SLICE_S * min(1.0, max(scale, 0.08)), siege.tokens, siege.cold)
    outcome = Outcome([], [], Counter(), 0.0)
    peaks = []
    for _ in range(rounds):
        all_.settle()
        other.begin(asked)
        outcome.quiet.append(other.end(asked))
        forget_peak(all_.gateway.pid)
        with _hanging(all_, siege.hangs), enemy.attacking(siege.attack, aim) as answers:
            other.begin(asked)
            outcome.under.append(other.end(asked))
        peaks.append(peak_mb(all_.gateway.pid))
        outcome.answers.update(answers)
    return Outcome(outcome.quiet, outcome.under, outcome.answers, max(peaks))


@contextmanager
def _hanging(all_: Installation, hangs: bool) -> Iterator[None]:
    if hangs:
        all_.alone.fault(hang=True)
    try:
        yield
    finally:
        if hangs:
            all_.alone.fault(hang=False)


def _result(outcomes: dict[str, Outcome], broken: Fuzzed, timing: dict[str, float]) -> dict[str, Any]:
    twelve = [one for name, one in outcomes.items() if name != NOISY]
    figures: dict[str, Any] = {
        "worst_p95_ratio": round(max(one.ratio for one in twelve), 3),
        "worst_p95_extra_ms": round(max(one.extra_ms for one in twelve), 1),
        "noisy_p95_ratio": round(outcomes[NOISY].ratio, 3),
        "refused_of_others": sum(one.refused for one in outcomes.values()),
        "rss_peak_mb": round(max(one.peak_mb for one in outcomes.values()), 1),
        "fuzzed": broken.count,
        "server_errors": broken.server_errors,
        "rss_slope_mb": None if broken.slope_mb is None else round(broken.slope_mb, 1),
        "timing": timing,
        "attacks": {name: one.document() for name, one in outcomes.items()},
    }
    return {
        "figures": figures,
        "bars": {
            "none of the other tenant's requests is refused": figures["refused_of_others"] == 0,
            f"the gateway has at most {MOST_RSS_MB:g} MB": figures["rss_peak_mb"] <= MOST_RSS_MB,
            "no broken request is the server's fault": figures["server_errors"] == 0,
        },
        "speed": {
            f"nobody's things are answered in {LEAST_TIME:g} to {MOST_TIME:g} of the time of another's": all(
                LEAST_TIME <= ratio <= MOST_TIME for ratio in timing.values()
            ),
            f"the other tenant's p95 is at most {MOST_RATIO:g} of its quiet one and {MOST_EXTRA_MS:g} ms": figures[
                "worst_p95_extra_ms"
            ]
            <= MOST_EXTRA_MS,
            f"beside a noisy neighbour at most {MOST_NOISY:g}": figures["noisy_p95_ratio"] <= MOST_NOISY,
            f"100,000 broken requests leave {MOST_SLOPE_MB:g} MB": (figures["rss_slope_mb"] or 0.0) <= MOST_SLOPE_MB,
        },
        "fuzzed": broken.document(),
    }
