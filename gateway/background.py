"""Work that goes on while a process serves. What ends with an error begins again, and is shown until it goes well."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

log = logging.getLogger("switchyard.background")
FIRST_PAUSE_S = 0.25
"""Between the end of a work and its next beginning; twice as long each time, up to `LONGEST_PAUSE_S`."""
LONGEST_PAUSE_S = 30.0
STEADY_S = 30.0
"""A work that has run for so long since it began again goes well."""
Run = Callable[[], Awaitable[None]]
"""Called for each beginning. What it awaits runs until it is cancelled, or returns when there is nothing left to do."""


@dataclass(slots=True)
class _Work:
    run: Run
    fault: str | None = None
    """What ended it last, until it goes well again."""


class Background:
    """The works of one process, by name. In an `async with`: all of them run, and are cancelled at its end."""

    def __init__(
        self,
        works: Mapping[str, Run],
        on_restart: Callable[[str], None] = lambda _: None,
        *,
        first_pause_s: float = FIRST_PAUSE_S,
        steady_s: float = STEADY_S,
    ) -> None:
        """`on_restart` is told the name of each work that ended with an error."""
        self._works = {name: _Work(run) for name, run in works.items()}
        self._on_restart = on_restart
        self._first_pause_s = first_pause_s
        self._steady_s = steady_s
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Background:
        self._tasks = [asyncio.create_task(self._keep(name, work), name=name) for name, work in self._works.items()]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def faults(self) -> dict[str, str | None]:
        """Of every work, what ended it last; `None` when it goes well."""
        return {name: work.fault for name, work in self._works.items()}

    async def _keep(self, name: str, work: _Work) -> None:
        """Run it again and again. A work that fails repeatedly is logged once."""
        loop, pause_s = asyncio.get_running_loop(), self._first_pause_s
        while True:
            steady = loop.call_later(self._steady_s, _goes_well, name, work) if work.fault is not None else None
            try:
                await work.run()
            except Exception as error:
                if being_cancelled():
                    log.error("%s ended with an error", name, exc_info=error)
                    return
                if work.fault is None:
                    pause_s = self._first_pause_s
                    log.error("%s ended, and begins again", name, exc_info=error)
                work.fault = f"{type(error).__name__}: {error}"
                self._on_restart(name)
            else:
                work.fault = None
                return
            finally:
                if steady is not None:
                    steady.cancel()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def being_cancelled() -> bool:
    """Whether the end of the task that runs has been asked for; an error may have taken the cancellation's place."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _goes_well(name: str, work: _Work) -> None:
    work.fault = None
    log.warning("%s goes on", name)
