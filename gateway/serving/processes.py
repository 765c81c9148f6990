"""A gateway of several processes: one parent, two controllers, N workers that accept from the same sockets.

One controller leads, the other stands by: to start one would take longer than to take over. The parent serves nothing,
and has imported what the others need: they are copies of it. It starts them again when they die, and stops them in
order: workers first, which finish their streams, then the controllers, which they need while they do.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from subprocess import TimeoutExpired

from sqlalchemy.exc import SQLAlchemyError

from gateway.catalog_watch import CatalogWatch
from gateway.fleet.leadership import candidate_of
from gateway.identity import Identity, new_token
from gateway.serving.children import Stopped, stop_signals
from gateway.serving.forked import Forked, fork
from gateway.settings import GatewaySettings
from registry.service import Registry
from telemetry.tracing import tracing_of

log = logging.getLogger("switchyard.processes")
CONTROLLERS = 2
BACKLOG = 2048
POLL_S = 0.1
ENDING_S = 5.0
"""Longer than their grace, workers have to end what still runs, and to write it down."""
STOP_ACCEPTING_S = 0.5
"""Time for workers to hear of their end and stop accepting."""
RESTART_PAUSE_S = 1.0
"""A child that dies again within so long waits as long before it is started once more."""


Command = Callable[[list[str]], object]
"""Does what `switchyard` with these arguments does."""


class Family:
    """The children of one parent, by role: `controller 1`, `worker 1`, …"""

    def __init__(self, settings: GatewaySettings, listening: list[socket.socket], command: Command) -> None:
        self._environment = {
            "SWITCHYARD_HOST": settings.host,
            "SWITCHYARD_PORT": str(settings.port),
            "SWITCHYARD_WORKERS": str(settings.workers),
            "SWITCHYARD_ENGINES": json.dumps(
                [one.model_dump(exclude_none=True) for one in settings.declared_engines()]
            ),
        }
        self._listening = listening
        self._command = command
        self._children: dict[str, Forked] = {}
        self._tokens: dict[str, str] = {}
        self._started_s: dict[str, float] = {}
        self._controllers = [f"controller {number + 1}" for number in range(CONTROLLERS)]
        self._workers = [f"worker {number + 1}" for number in range(settings.workers)]

    def start_missing(self) -> list[Identity]:
        """Start every role whose child is not there; who those were that were found dead."""
        dead = []
        for role in (*self._controllers, *self._workers):
            child = self._children.get(role)
            if child is not None and child.poll() is None:
                continue
            if child is not None:
                log.error("%s (pid %d) ended with status %d; starting another", role, child.pid, child.returncode)
                dead.append(Identity(child.pid, self._tokens[role]))
                if time.monotonic() - self._started_s[role] < RESTART_PAUSE_S:
                    time.sleep(RESTART_PAUSE_S)
            self._children[role] = self._start(role)
            self._started_s[role] = time.monotonic()
        return dead

    def _start(self, role: str) -> Forked:
        self._tokens[role] = new_token()
        arguments = [role.partition(" ")[0], "--token", self._tokens[role]]
        inherited = [one.fileno() for one in self._listening] if role in self._workers else []
        for number in inherited:
            arguments += ["--fd", str(number)]

        def work() -> None:
            os.environ.update(self._environment)
            self._command(arguments)

        # In a session of its own: Ctrl-C reaches the parent, which stops the others in order.
        return fork(f"sy {role}", work, inherited)

    def stop(self, delay_s: float, grace_s: float) -> None:
        """Workers, which accept and serve for `delay_s` more and whose answers may then go on for `grace_s`, then the
        controllers; what does not end in time is killed. A worker that gets SIGINT has no delay.
        """
        for roles in (self._workers, self._controllers):
            children = [self._children[role] for role in roles if role in self._children]
            for child in children:
                child.send_signal(signal.SIGTERM if delay_s or roles is self._controllers else signal.SIGINT)
            deadline = time.monotonic() + delay_s + grace_s + ENDING_S
            if roles is self._workers:
                time.sleep(delay_s + STOP_ACCEPTING_S)
                for one in self._listening:
                    with suppress(OSError):  # for all processes that have inherited it: late clients are refused
                        one.shutdown(socket.SHUT_RDWR)
            for child in children:
                with suppress(TimeoutExpired):
                    child.wait(max(0.0, deadline - time.monotonic()))
                child.kill()
                child.wait()

    def kill(self) -> None:
        """Whoever is left."""
        for child in self._children.values():
            child.kill()
        for child in self._children.values():
            child.wait()


def run_family(settings: GatewaySettings, registry: Registry, command: Command) -> None:
    """Serve with `settings.workers` processes until SIGTERM or Ctrl-C; a second one ends what still runs at once.

    Call it from the only thread there is. Raises `OSError` when the port is taken.
    """
    delay_s = 0.0
    addresses = [(settings.host, settings.port), *filter(None, [settings.admin_address])]
    listening = [socket.create_server(address, backlog=BACKLOG) for address in addresses]
    family = Family(settings, listening, command)
    log.info("listening on http://%s:%d with %d workers", settings.host, settings.port, settings.workers)
    try:
        registry.db.close()  # who is started next must not share its connections
        with stop_signals():
            while True:
                for dead in family.start_missing():
                    with suppress(SQLAlchemyError):  # it is dead for sure: nobody needs to wait for its lease to lapse
                        registry.leadership.release(str(dead))
                        registry.workers.leave(str(dead))
                    registry.db.close()
                time.sleep(POLL_S)
    except Stopped as stopped:
        delay_s = settings.stop_delay_s if stopped.number == signal.SIGTERM else 0.0
        log.info(
            "stopping: serving %g s more, then running answers may finish (up to %d s)", delay_s, settings.stop_grace_s
        )
    finally:
        try:
            with stop_signals():
                family.stop(delay_s, settings.stop_grace_s)
        except Stopped:
            log.warning("stopping at once")
        finally:
            family.kill()
            for one in listening:
                one.close()


async def lead(settings: GatewaySettings, registry: Registry, token: str | None = None) -> None:
    """Be the fleet's controller, or stand by to be the next, until SIGTERM or Ctrl-C."""
    watch = CatalogWatch(registry, None, "", settings.catalog_poll_s)
    identity = Identity.of_this_process(token)
    tracing = tracing_of(settings, "switchyard-controller", str(identity))
    candidate = candidate_of(registry, settings, watch, identity, tracing)
    tasks = [asyncio.create_task(watch.run(candidate.wake)), asyncio.create_task(candidate.run())]
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    waiting = asyncio.create_task(stopped.wait())
    done, _ = await asyncio.wait((*tasks, waiting), return_when=asyncio.FIRST_COMPLETED)
    for task in (*tasks, waiting):
        task.cancel()
    await asyncio.gather(*tasks, waiting, return_exceptions=True)
    if tracing is not None:
        await asyncio.to_thread(tracing.close)
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
