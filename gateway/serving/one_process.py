"""A gateway that is one process, or one serving process of a gateway that has several."""

from __future__ import annotations

import resource
import socket
from collections.abc import Sequence
from contextlib import suppress

from gateway.app import Gateway
from gateway.serving.crowd import Crowd, room_of
from gateway.serving.server import BACKLOG, Server, server_config
from gateway.settings import GatewaySettings
from registry.errors import InvalidInput
from telemetry.logs import log_to_stderr

FILES_OF_BACKLOG = 8
"""Connections that wait may all be accepted before one of them ends: they take an eighth of the files at most."""
MOST_FILES = 1 << 20
"""Where the system names no limit."""


def serve(settings: GatewaySettings, inherited: Sequence[int] = (), token: str | None = None) -> None:
    """Serve until a signal: from sockets of its own and able to lead, or from `inherited` descriptors and led.

    Raises `InvalidInput` for a descriptor that is no socket.
    """
    sockets = [_inherited(fd) for fd in inherited]
    open_files = _raise_open_files_limit()
    backlog = min(BACKLOG, open_files // FILES_OF_BACKLOG)
    most = room_of(open_files, backlog)
    crowd = Crowd(most, settings.max_connections_per_address, settings.trusted_proxies)
    bodies = min(settings.max_unfinished_bodies, most // 4)
    requests = min(settings.max_in_flight, most - bodies)
    settings = settings.model_copy(update={"max_in_flight": requests, "max_unfinished_bodies": bodies})
    log_to_stderr(settings)
    app = Gateway(settings, leads=not inherited, token=token)
    config = server_config(
        app,
        settings.host,
        settings.port,
        grace_s=settings.stop_grace_s,
        keep_alive_s=settings.keep_alive_s,
        crowd=crowd,
        backlog=backlog,
    )
    if not inherited and settings.admin_address is not None:
        sockets = [config.bind_socket(), socket.create_server(settings.admin_address)]

    def leave() -> None:
        app.leaving = True

    server = Server(config, delay_s=settings.stop_delay_s, on_leaving=leave)
    with suppress(KeyboardInterrupt):  # it is raised again when all is done
        server.run(sockets=sockets or None)


def _inherited(fd: int) -> socket.socket:
    """The socket behind a descriptor. Raises `InvalidInput` when there is none."""
    try:
        return socket.socket(fileno=fd)
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"fd is {fd}, and no socket to accept from was inherited there; `switchyard gateway --workers N` starts "
            "workers with theirs",
            param="fd",
        ) from error


def _raise_open_files_limit() -> int:
    """Every client and every engine connection is a file; take what the system allows, and return that."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else MOST_FILES
