"""Children that are started in order, started again whenever they end, and stopped in reverse order."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from gateway.serving import children
from gateway.serving.children import STOP_TIMEOUT_S, StopSignals
from gateway.serving.last_words import oom_kills, reason_of
from gateway.serving.run_logs import RunLog
from gateway.serving.telling import Teller

POLL_S = 0.25
ASK_TIMEOUT_S = 2.0
LOOK_S = 1.0
"""Pause between two looks at a child that is up, and at the size of its log."""
LONGEST_PAUSE_S = 60.0
STEADY_S = 60.0
"""After so long up, a child's earlier ends are forgotten."""


class StartFailed(Exception):
    """A child did not come up; the message is one sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class Role:
    """What a child is for. It is up when `ready_url` answers 200; after a restart, when `alive_url` does.

    One without a `url` serves nothing: it is up when it runs, and nobody waits for it.
    """

    name: str
    doing: str
    """What it does while it starts."""
    url: str
    """Where it serves; empty if it does not."""
    command: Sequence[str]
    environment: Mapping[str, str]
    ready_url: str = ""
    alive_url: str = ""
    start_timeout_s: float = 60.0
    grace_s: float = 0.0
    """More time to end than others have."""
    meanwhile: str = ""
    """What its absence means for clients."""
    served_url: str = ""
    """Answers 200 when clients are served from it again; only then it is said that it is up again."""
    optional: bool = False
    """Whether the others go on without it, also when it does not come up at first."""
    first_pause_s: float = 1.0
    """Before it is started again after its first end; twice as long after each further one, up to a minute."""
    dead_after_s: float = 20.0
    """One that runs, and says of itself for so long that it is dead (503), is started again."""


class Child:
    """One role's process, and the next one when that has ended."""

    def __init__(self, role: Role, logs: Path, signals: StopSignals, teller: Teller) -> None:
        self.role = role
        self.log = RunLog(logs / f"{role.name}.log")
        self._signals = signals
        self._teller = teller
        self._process: subprocess.Popen[bytes] | None = None
        self._up = False
        self._since_s = 0.0
        """When it was started, or came up."""
        self._looked_s = 0.0
        self._dead_since_s: float | None = None
        self._back_since_s: float | None = None
        """When one was started that is up, of which it is to be said that it serves again."""
        self._failures = 0
        """Ends in a row without a steady time between them."""
        self._start_at_s = 0.0
        self._oom_kills = 0

    @property
    def pid(self) -> int | None:
        """Of the process that runs."""
        return None if self._process is None else self._process.pid

    def first_start(self, before: Sequence[Child]) -> None:
        """Start and wait until it is ready, with a live line.

        Raises `StartFailed` with the reason when it does not come up, or one of those `before` it ends meanwhile.
        """
        role = self.role
        self.log.begin_run()
        self._start()
        assert self._process is not None
        if not role.url:
            self._teller.say(f"{role.name:<9} {role.doing} (log: {self.log.path})")
            return
        what = f"{role.name}: {role.doing}"
        with self._teller.live(what) as line:
            took_s = wait_until_up(
                what, role.ready_url, self._process, self.log, role.start_timeout_s, before, line.update
            )
        self._came_up()
        self._teller.say(f"{role.name:<9} up in {took_s:.1f} s at {role.url}")

    def require_running(self) -> None:
        """Raise `StartFailed` with the reason when it has ended."""
        if self._process is not None and self._process.poll() is not None:
            reason = _reason(self._process.returncode, self.log, self._oom_kills)
            raise StartFailed(f"{self.role.name}: it {reason}; see {self.log.path}")

    def put_off(self) -> None:
        """Say why it did not come up at first, and start it again later."""
        assert self._process is not None
        status = self._process.poll()
        late = f"was not up after {self.role.start_timeout_s:.0f} s, so it was stopped"
        self._ended(late if status is None else _reason(status, self.log, self._oom_kills))

    def look(self) -> None:
        """Do what is to be done now; returns soon."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._start_at_s:
                self._start()
        elif self._process.poll() is not None:
            self._ended(_reason(self._process.returncode, self.log, self._oom_kills))
        elif not self._up:
            self._look_at_start(now)
        elif now - self._looked_s >= LOOK_S:
            self._looked_s = now
            self.log.trim()
            self._say_that_it_is_back(now)
            self._look_at_health(now)

    def stop(self) -> None:
        """End it for good."""
        if self._process is not None:
            children.stop(self._process, STOP_TIMEOUT_S + self.role.grace_s)
            self._process = None

    def _start(self) -> None:
        self.log.mark(f"--- {self.role.name} started by switchyard up, {datetime.now():%Y-%m-%d %H:%M:%S} ---")
        self._oom_kills = oom_kills()
        with self._signals.held():
            self._process = children.start(list(self.role.command), self.role.environment, self.log.path)
        self._up = False
        self._back_since_s = None
        self._dead_since_s = None
        self._since_s = time.monotonic()
        if not self.role.url:
            self._back_since_s = self._since_s if self._failures else None
            self._came_up()

    def _look_at_start(self, now: float) -> None:
        if _status_of(self.role.alive_url) == 200:
            self._back_since_s = self._since_s
            self._came_up()
            self._say_that_it_is_back(now)
        elif now - self._since_s > self.role.start_timeout_s:
            self._ended(f"was not up after {self.role.start_timeout_s:.0f} s, so it was stopped")

    def _say_that_it_is_back(self, now: float) -> None:
        """Once, when it serves, or when that has taken as long as a start may take."""
        since_s = self._back_since_s
        if since_s is None:
            return
        serves = not self.role.served_url or _status_of(self.role.served_url) == 200
        if not serves and now - self._since_s <= self.role.start_timeout_s:
            return
        self._back_since_s = None
        if _is_worth_a_line(self._failures):
            but = "" if serves else ", and the gateway does not serve from it: `switchyard fleet` says why"
            self._say(f"up again after {now - since_s:.0f} s{but}")

    def _came_up(self) -> None:
        self._up = True
        self._since_s = self._looked_s = time.monotonic()

    def _look_at_health(self, now: float) -> None:
        if self._failures and now - self._since_s > STEADY_S:
            self._failures = 0
        if not self.role.url or _status_of(self.role.alive_url) != 503:
            self._dead_since_s = None
        elif self._dead_since_s is None:
            self._dead_since_s = now
        elif now - self._dead_since_s > self.role.dead_after_s:
            self._ended(f"said for {self.role.dead_after_s:.0f} s that it is dead (HTTP 503), so it was stopped")

    def _ended(self, reason: str) -> None:
        """Take away what is left of it, and say when the next one comes; less often the more ends there were."""
        assert self._process is not None
        children.stop(self._process, STOP_TIMEOUT_S)
        self._process = None
        self._failures += 1
        pause_s = min(LONGEST_PAUSE_S, self.role.first_pause_s * 2.0 ** min(self._failures - 1, 30))
        self._start_at_s = time.monotonic() + pause_s
        if _is_worth_a_line(self._failures):
            times = f" ({self._failures} times in a row)" if self._failures > 1 else ""
            meanwhile = f"; {self.role.meanwhile}" if self.role.meanwhile else ""
            self._say(f"{reason}{times}. Starting it again in {pause_s:.0f} s{meanwhile} (log: {self.log.path})")

    def _say(self, text: str) -> None:
        self._teller.say(f"{self.role.name:<9} {datetime.now():%H:%M:%S} {text}")


def supervise(
    roles: Sequence[Role], logs: Path, greet: Callable[[], None], signals: StopSignals, teller: Teller
) -> NoReturn:
    """Start every role, greet, and keep them running. All are stopped when it is left, the last first.

    Raises `StartFailed` when one does not come up at first, `Stopped` on a signal.
    """
    with ExitStack() as stack:
        started: list[Child] = []
        for role in roles:
            child = Child(role, logs, signals, teller)
            stack.callback(child.stop)
            try:
                child.first_start(started)
            except StartFailed:
                _require_running(started)
                if not role.optional:
                    raise
                child.put_off()
            started.append(child)
        try:
            greet()
        except StartFailed:
            _require_running(started)  # or else this is the reason
            raise
        try:
            while True:
                for child in started:
                    child.look()
                time.sleep(POLL_S)
        except children.Stopped:
            teller.say("stopping  running answers may finish; a second Ctrl-C ends them …")
            raise


def _require_running(children: Sequence[Child]) -> None:
    """Raise `StartFailed` with the first one that has ended, but for those that may be away."""
    for child in children:
        if not child.role.optional:
            child.require_running()


def wait_until_up(
    what: str,
    url: str,
    process: subprocess.Popen[bytes],
    log: RunLog | Path,
    timeout_s: float,
    others: Sequence[Child] = (),
    show: Callable[[str], None] = lambda _: None,
) -> float:
    """Poll `url` until it answers 200; return the seconds it took. `show` gets what is waited for, again and again.

    Raises `StartFailed` when that takes longer than `timeout_s`, or the process or one of the `others` ends.
    """
    log = log if isinstance(log, RunLog) else RunLog(log)
    began, kills = time.monotonic(), oom_kills()
    while True:
        elapsed = time.monotonic() - began
        show(f"{what} … {elapsed:.0f} s (log: {log.path})")
        if process.poll() is not None:
            raise StartFailed(f"{what}: it {_reason(process.returncode, log, kills)}; see {log.path}")
        _require_running(others)
        if elapsed > timeout_s:
            raise StartFailed(f"{what}: not up after {timeout_s:.0f} s; see {log.path}")
        if _status_of(url) == 200:
            return elapsed
        time.sleep(POLL_S)


def _reason(status: int, log: RunLog, kills_before: int) -> str:
    return reason_of(status, log.text(), oom_killed=oom_kills() > kills_before)


def _status_of(url: str) -> int | None:
    """The HTTP status that it answers, if it does.

    Not by httpx, whose every client makes a context of TLS: of three children that are looked at each second that took
    a tenth of a processor, for as long as they served.
    """
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=ASK_TIMEOUT_S)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def _is_worth_a_line(failures: int) -> bool:
    """The first, second, fourth, eighth, …"""
    return failures & (failures - 1) == 0
