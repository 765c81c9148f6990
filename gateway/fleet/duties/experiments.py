"""Deciding on experiments: the analyst reads what is new, the rules say what follows, and a swap carries it out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from sqlalchemy.exc import SQLAlchemyError

from gateway.experiments.asking import Analyst
from gateway.experiments.clock import SteadyClock
from gateway.experiments.deciding import Decider
from gateway.fleet.duties.beside import Beside
from gateway.fleet.duties.rounds import Round
from gateway.fleet.requests import Errands
from registry.children.asked import ChildGone
from registry.days import DAY_MS
from registry.db import now_ms
from registry.errors import RegistryError
from registry.experiments.infos import ExperimentInfo
from registry.service import Registry

log = logging.getLogger("switchyard.experiments")
LOOK_S = 2.0
"""Between two looks at all experiments."""
ANSWERS_WITHIN_S = 20.0
"""An analyst that takes longer for one step of one experiment hangs. Its start is not part of it."""
GRACE_MS = 5_000
"""After its window a unit waits so long for usage rows that are on their way: they are shipped once a second."""
KEPT_MS = 90 * DAY_MS
"""For so long after its end an experiment's units are kept, and its decisions can be made again."""
FORGET_S = 60.0
"""Between two looks for notes of attempts that nobody takes in any more."""


class DecideExperiments:
    """Beside the rounds, which wait for no database and no arithmetic. The analyst runs while an experiment does. One
    whose analysis has hung goes on with another analyst, so that others wait for it once at most.
    """

    name = "experiments"

    def __init__(self, registry: Registry, token: int, errands: Errands) -> None:
        self._registry = registry
        self._token = token
        self._beside, self._beside_slow = Beside(errands, LOOK_S), Beside(errands, LOOK_S)
        self._clock = SteadyClock()
        self._decider = Decider(registry, token, self._clock)
        self._analyst, self._patient = Analyst(), Analyst()
        self._slow: set[int] = set()
        """Experiments whose analysis did not end in time: until it has, they are asked of `_patient` alone."""
        self._forgot_s = float("-inf")

    def is_due(self, this: Round) -> bool:
        """Always; most often nothing is to be done."""
        return True

    async def do(self, this: Round) -> None:
        """Begin, unless the last time is still under way. Raises what that has ended with."""
        self._beside.begin(self.look)
        if self._slow:
            self._beside_slow.begin(self.look_at_slow)

    async def look(self) -> None:
        """At every experiment that is under way, once, but for those that are slow. Raises `ChildGone` when none of
        them could be analysed.
        """
        self._clock.look()
        under_way = await asyncio.to_thread(self._registry.experiments.under_way)
        if time.monotonic() - self._forgot_s >= FORGET_S:
            self._forgot_s = time.monotonic()
            await asyncio.to_thread(self._registry.experiments.analysis.forget_ended)
            await asyncio.to_thread(self._registry.experiments.units.sweep, now_ms() - KEPT_MS)
        if not under_way:
            await asyncio.to_thread(self._analyst.rest)
            return
        others = [info for info in under_way if info.id not in self._slow]
        faults = await self._each(others, self._analyst)
        if faults and len(faults) == len(others):
            raise ChildGone(faults[0])

    async def look_at_slow(self) -> None:
        """At those whose analysis hung; what goes wrong again is told in the log, and holds up nobody else."""
        under_way = await asyncio.to_thread(self._registry.experiments.under_way)
        self._slow &= {info.id for info in under_way}
        await self._each([info for info in under_way if info.id in self._slow], self._patient)
        if not self._slow:
            await asyncio.to_thread(self._patient.rest)

    async def _each(self, infos: Sequence[ExperimentInfo], analyst: Analyst) -> list[str]:
        """What went wrong, a sentence for each of which something did."""
        faults = [fault for info in infos if (fault := await self._one(info, analyst)) is not None]
        for fault in faults:
            log.warning("%s", fault)
        return faults

    async def _one(self, info: ExperimentInfo, analyst: Analyst) -> str | None:
        """Bring one up to date and decide on it; what went wrong, if something did."""
        question = {
            "experiment": info.id,
            "database_url": self._registry.db.url,
            "fence": self._token,
            "grace_ms": GRACE_MS,
            "jumps": self._clock.jumps,
            "at_ms": self._clock.now_ms(),
        }
        try:
            answer = await asyncio.to_thread(analyst.ask, question, ANSWERS_WITHIN_S)
        except ChildGone as gone:
            self._slow.add(info.id)
            return f"experiment {info.id}: {gone}"
        self._slow.discard(info.id)
        if "fault" in answer:
            return f"experiment {info.id} could not be analysed: {answer['fault']}"
        try:
            await asyncio.to_thread(self._decider.decide, info.id)
        except (RegistryError, SQLAlchemyError) as error:
            return f"experiment {info.id} could not be decided on: {error}"
        except Exception:  # what is stored of one must not keep others from being decided on
            log.exception("experiment %d could not be decided on", info.id)
            return f"experiment {info.id} could not be decided on: a fault of ours"
        return None

    def close(self) -> None:
        """End the analysts."""
        self._analyst.close()
        self._patient.close()
