"""What runs on a state folder: every gateway says in a file where it listens, and holds the file's lock while it lives.

The kernel drops the lock when the process ends, however it does, so a file that is left over is never believed. A file
is locked before it has its name, so nobody takes a new one for one that is left over.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gateway.settings import GatewaySettings
from registry.errors import Conflict
from registry.storage.private import private_folder


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """One gateway of this state folder. URLs are such that this host can call them."""

    pid: int
    url: str
    """Where it serves clients."""
    admin_url: str
    """Where it serves its operator."""
    started_at_ms: int


@dataclass(frozen=True, slots=True)
class RunningUp:
    """The `switchyard up` of this state folder, and where the engine serves that it starts."""

    pid: int
    engine_url: str


def gateway_of(settings: GatewaySettings) -> RunningGateway | None:
    """The gateway that a command means: the one at SWITCHYARD_HOST and _PORT if the environment has them, else the
    newest that runs on this state folder. `None` when it is not known to run here.
    """
    running = running_gateways(settings.state_dir)
    if {name.upper() for name in os.environ} & {"SWITCHYARD_HOST", "SWITCHYARD_PORT"}:
        running = [one for one in running if one.url == settings.url]
    return next(iter(running), None)


@contextmanager
def remembered(settings: GatewaySettings) -> Iterator[None]:
    """Let commands find this gateway while the block runs."""
    gateway = RunningGateway(os.getpid(), settings.url, settings.admin_url, time.time_ns() // 1_000_000)
    folder = _folder(settings.state_dir)
    private_folder(folder)
    _forget_the_dead(folder)
    path = folder / f"gateway-{secrets.token_hex(6)}.json"
    handle, draft = tempfile.mkstemp(dir=folder, prefix=".new-")  # mode 600
    try:
        with suppress(OSError):  # a file system without locks: it will not be believed, and nothing else is lost
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(handle, json.dumps(asdict(gateway)).encode())
        os.rename(draft, path)
        yield
    finally:
        for name in (draft, path):
            Path(name).unlink(missing_ok=True)
        os.close(handle)


def running_gateways(state_dir: Path) -> list[RunningGateway]:
    """Those that live, the newest first."""
    found = []
    for path in _folder(state_dir).glob("gateway-*.json"):
        document = _read_if_held(path)
        if document is not None:
            with suppress(TypeError):  # written by another release
                found.append(RunningGateway(**document))
    return sorted(found, key=lambda gateway: -gateway.started_at_ms)


@contextmanager
def only_up(state_dir: Path, engine_url: str) -> Iterator[None]:
    """Be the only `switchyard up` of this state folder, with an engine there, while the block runs.

    Raises `Conflict`.
    """
    path = _up_file(state_dir)
    private_folder(path.parent)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)  # it stays: of two that make it at once one locks it
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refuse_second_up(state_dir)
        except OSError:  # a file system without locks
            pass
        os.truncate(handle, 0)
        os.write(handle, json.dumps(asdict(RunningUp(os.getpid(), engine_url))).encode())
        yield
    finally:
        os.close(handle)


def running_up(state_dir: Path) -> RunningUp | None:
    """The one that runs."""
    document = _read_if_held(_up_file(state_dir)) or {}
    try:
        return RunningUp(**document)
    except TypeError:  # none, or of another release
        return None


def refuse_second_up(state_dir: Path) -> None:
    """Raise `Conflict` when a `switchyard up` runs on this state folder."""
    other = _read_if_held(_up_file(state_dir))
    if other is not None:
        raise Conflict(
            f"`switchyard up` runs on the state folder {state_dir} already (pid {other.get('pid', 'unknown')}); stop "
            "that one first, or give this one a folder of its own with SWITCHYARD_STATE_DIR, and other ports"
        )


def _forget_the_dead(folder: Path) -> None:
    for path in folder.glob("gateway-*.json"):
        if _read_if_held(path) is None:
            path.unlink(missing_ok=True)


def _read_if_held(path: Path) -> dict[str, Any] | None:
    """What an entry says, if its process lives."""
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                document = json.loads(file.read())
                return document if isinstance(document, dict) else None
    except (OSError, ValueError):
        pass
    return None


def _up_file(state_dir: Path) -> Path:
    return _folder(state_dir) / "up.json"


def _folder(state_dir: Path) -> Path:
    return state_dir / "running"
