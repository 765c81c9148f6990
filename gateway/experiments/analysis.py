"""An experiment's analysis: what was seen of its units, folded one by one. Loads numpy, so only children import it.

Four streams are folded, each in the order in which units are numbered: exposures (did arms get what was planned), first
failures (is a treatment broken), values of mature units (which arm is better), and, where a judge decides that, its
verdicts. They do not depend on each other, so a standing is made again from stored units and four numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from gateway.experiments.breaker import Breaker
from gateway.experiments.comparing import Comparisons
from gateway.experiments.history import History
from gateway.experiments.inference.sample_ratio import SampleRatio
from gateway.experiments.inference.values import rounded
from gateway.experiments.standing import Broken, Cursor, Standing
from registry.experiments.plan import Plan
from registry.experiments.units import UnitState
from registry.experiments.windows import WINDOW
from registry.storage.blobs import canonical_json

Shares = Mapping[int, Mapping[str, float]]
"""Split id → arm → its share of the units."""
STREAMS = ("exposed", "failed", "folded", "judged")
NOTHING_SEEN = sha256(b"").hexdigest()


class Analysis:
    """Mutable: `written` is a snapshot of it, `read` goes on from one."""

    def __init__(self, plan: Plan, shares: Shares) -> None:
        """Before anything was seen."""
        self.plan = plan
        self.shares = shares
        self.exposed = self.failed = self.folded = self.judged = 0
        self.history = History()
        self._arms = plan.arms
        self._digests = dict.fromkeys(STREAMS, NOTHING_SEEN)
        self._units = dict.fromkeys(self._arms, 0)
        self._counted = dict.fromkeys(self._arms, 0)
        self._on_split: dict[str, int] = {}
        self._ratio = SampleRatio.start(len(self._arms))
        self._breakers = dict.fromkeys(plan.treatments, Breaker())
        self._comparisons = Comparisons(plan)

    def expose(self, unit: UnitState) -> None:
        """The next unit that has met its arm."""
        self.exposed += 1
        self._seen("exposed", [unit.unit_hash, unit.arm, unit.split_id])
        self._units[unit.arm] += 1
        if unit.arm != self._arms[0]:
            self._on_split[str(unit.split_id)] = self._on_split.get(str(unit.split_id), 0) + 1
        shares = self._shares_of(unit.split_id)
        if shares[self._arms.index(unit.arm)] > 0:  # else a worker was slow to hear of a split; it is no evidence
            self._ratio = self._ratio.fold(self._arms.index(unit.arm), shares)

    def fail(self, arm: str, split_id: int, unit_hash: str) -> None:
        """The next unit that has failed for the first time, and by which arm."""
        self.failed += 1
        self._seen("failed", [unit_hash, arm, split_id])
        shares, control = self.shares.get(split_id, {}), self._arms[0]
        for treatment in self.plan.treatments:
            both = shares.get(treatment, 0.0) + shares.get(control, 0.0)
            if arm in (treatment, control) and both:
                share = shares.get(treatment, 0.0) / both
                self._breakers[treatment] = self._breakers[treatment].failed(arm == treatment, share)

    def fold(self, unit: UnitState, values: Mapping[str, float]) -> None:
        """The next unit that is mature, and what it came to."""
        self.folded += 1
        self._seen("folded", [unit.unit_hash, unit.arm, unit.split_id, dict(values)])
        if values:
            self._counted[unit.arm] += 1
        self._comparisons.fold(self._arms.index(unit.arm), self._shares_of(unit.split_id), values)

    def judge(self, unit_hash: str, words: str) -> None:
        """The next unit of which a judge has compared two answers, and what it said (`Judgement.fold`)."""
        self.judged += 1
        self._seen("judged", [unit_hash, words])
        self._comparisons.judge(words)

    def _shares_of(self, split_id: int) -> tuple[float, ...]:
        shares = self.shares.get(split_id, {})
        return tuple(shares.get(arm, 0.0) for arm in self._arms)

    def _seen(self, stream: str, what: Any) -> None:
        self._digests[stream] = sha256(self._digests[stream].encode() + canonical_json(what)).hexdigest()

    def standing(self) -> Standing:
        """What is known now, in figures that another machine comes to as well."""
        found = self._comparisons.found()
        log_e = rounded(self._ratio.log_e)
        assert isinstance(log_e, float)
        return Standing(
            cursor=Cursor(self.exposed, self.failed, self.folded, self.judged),
            digest="sha256:" + sha256(canonical_json(self._digests)).hexdigest(),
            units=dict(self._units),
            folded=dict(self._counted),
            on_split=dict(self._on_split),
            breakers={arm: self._broken(one) for arm, one in self._breakers.items()},
            ratio_log_e=log_e,
            ratio_alarms=bool(self._ratio.alarms()),
            primary=found.primary,
            guardrails=found.guardrails,
            missing=found.missing,
            joint=found.joint,
            strata=found.strata,
            notes=tuple(found.notes),
        )

    def _broken(self, breaker: Breaker) -> Broken:
        log_e = rounded(breaker.log_e)
        assert isinstance(log_e, float)
        windows = self.plan.unit == WINDOW
        is_open = breaker.fails_more if windows else breaker.is_open(len(self.plan.treatments))
        return Broken(log_e, breaker.candidate, breaker.control, is_open)

    def note_history(self) -> None:
        """Remember the primary metric's intervals of now, for plots."""
        seen = self.judged if self.plan.judged else self.folded
        self.history.note(seen, dict(self._comparisons.primary_intervals()))

    def written(self) -> dict[str, Any]:
        """A document that JSON knows."""
        return {
            "exposed": self.exposed,
            "failed": self.failed,
            "folded": self.folded,
            "judged": self.judged,
            "digests": dict(self._digests),
            "units": dict(self._units),
            "counted": dict(self._counted),
            "on_split": dict(self._on_split),
            "ratio": self._ratio.written(),
            "breakers": {arm: asdict(one) for arm, one in self._breakers.items()},
            "comparisons": self._comparisons.written(),
            "history": self.history.written(),
        }

    @classmethod
    def read(cls, plan: Plan, shares: Shares, document: Mapping[str, Any]) -> Analysis:
        """One that goes on from what `written` made."""
        made = cls(plan, shares)
        made.exposed, made.failed, made.folded, made.judged = (document.get(name, 0) for name in STREAMS)
        made._digests = {**made._digests, **document["digests"]}
        made._units, made._counted = dict(document["units"]), dict(document["counted"])
        made._on_split = dict(document["on_split"])
        made._ratio = SampleRatio.read(document["ratio"])
        made._breakers = {
            arm: Breaker(**{**one, "logs": tuple(one["logs"])}) for arm, one in document["breakers"].items()
        }
        made._comparisons.read(document["comparisons"])
        made.history = History.read(document["history"])
        return made
